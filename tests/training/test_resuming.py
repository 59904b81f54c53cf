"""A training that was interrupted goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from ignite.engine import Engine

from medseg.errors import BundleError, ConfigError
from medseg.training.state import TrainingState

Train = Callable[..., Any]
EPOCHS = {"max_epochs": 4, "val_interval": 1, "train::trainer::ema_momentum": 0.1}


class PowerCutError(BaseException):
    """What no training expects."""


@pytest.fixture
def interrupted(train_phantom: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Train until the state of an epoch is saved, and no further; gives the state."""

    def train(output_dir: Path, *, after: int, **overrides: Any) -> dict[str, Any]:
        save = TrainingState.save

        def save_and_stop(state: TrainingState, trainer: Engine) -> None:
            save(state, trainer)
            if trainer.state.epoch == after:
                raise PowerCutError

        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "save", save_and_stop)
            with pytest.raises(PowerCutError):
                train_phantom(output_dir, **EPOCHS | overrides)
        state: dict[str, Any] = torch.load(output_dir / "models" / "state.pt", weights_only=True)
        return state

    return train


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(tracking_uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    measures = mlflow.MlflowClient(tracking_uri).get_metric_history(run_id, name)
    return [(measure.step, measure.value) for measure in measures]


def test_training_goes_on_in_its_schedule_and_its_mlflow_run(
    train_phantom: Train, interrupted: Train, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = interrupted(tmp_path / "cut", after=2)
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("phantom_ct_3d").experiment_id
    own = f"tags.`medseg.training` = '{state['parts']['recording']['training']}'"
    (run,) = client.search_runs([experiment], own)
    assert run.info.status == "FAILED"
    trainer = train_phantom(tmp_path / "cut", resume=True, **EPOCHS)
    told = capsys.readouterr().err
    assert "goes on after epoch 2" in told and "is not logged" not in told
    whole = train_phantom(tmp_path / "whole", **EPOCHS)
    run_id = run.info.run_id
    assert trainer.result()["mlflow_run"] == run_id
    assert [(each.info.run_id, each.info.status) for each in client.search_runs([experiment], own)] == [
        (run_id, "FINISHED")
    ]
    assert [epoch for epoch, _ in history(tracking_uri, run_id, "val_dice/mean")] == [1, 2, 3, 4]
    rates = history(tracking_uri, whole.result()["mlflow_run"], "learning_rate")
    assert history(tracking_uri, run_id, "learning_rate") == rates
    steps = [optimizer.state_dict()["state"][0]["step"] for optimizer in (trainer.optimizer, whole.optimizer)]
    assert steps[0] == steps[1]
    assert not same(trainer.network.state_dict(), whole.network.state_dict()), "patches are drawn anew"


def test_training_has_its_weights_again_and_the_best_so_far(
    train_phantom: Train, interrupted: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted after the last epoch nothing is left to train, so that what came back is what was saved."""
    state = interrupted(tmp_path, after=4)
    trainer = train_phantom(tmp_path, resume=True, **EPOCHS)
    assert "is complete" in capsys.readouterr().err
    last = torch.load(tmp_path / "models" / "last.pt", weights_only=True)
    assert same(trainer.network.state_dict(), state["parts"]["network"])
    assert same(trainer.checkpoint.network.state_dict(), last)
    assert not same(last, state["parts"]["network"]), "of these it is the running average"
    assert trainer.result()["best_val_dice"] == state["parts"]["best"]["best_metric"]
    assert trainer.result()["best_epoch"] == state["parts"]["best"]["best_epoch"]


def test_better_weights_of_before_the_interruption_are_kept(
    train_phantom: Train, interrupted: Train, tmp_path: Path
) -> None:
    interrupted(tmp_path, after=1)
    path, model = (tmp_path / "models" / name for name in ("state.pt", "model.pt"))
    state = torch.load(path, weights_only=True)
    state["parts"]["best"]["best_metric"] = 2.0  # better than any
    torch.save(state, path)
    before = model.read_bytes()
    assert train_phantom(tmp_path, resume=True, **EPOCHS).result()["best_epoch"] == 1
    assert model.read_bytes() == before
    assert (tmp_path / "models" / "fingerprint.json").is_file()


def test_training_of_other_settings_is_not_gone_on_with(
    train_phantom: Train, interrupted: Train, tmp_path: Path
) -> None:
    interrupted(tmp_path, after=1)
    model = (tmp_path / "models" / "model.pt").read_bytes()
    with pytest.raises(ConfigError, match=r"is of a training with other seed; give what it was started with"):
        train_phantom(tmp_path, resume=True, seed=9, **EPOCHS)
    with pytest.raises(ConfigError, match=r"other fold, cases;"):
        train_phantom(tmp_path, resume=True, fold=1, **EPOCHS)
    assert (tmp_path / "models" / "model.pt").read_bytes() == model


def test_where_nothing_was_begun_a_training_starts(
    train_phantom: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = train_phantom(tmp_path, resume=True, max_epochs=1)
    assert "the training starts anew" in capsys.readouterr().err
    assert trainer.state.epoch == 1


def test_state_that_cannot_be_read_is_named(train_phantom: Train, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "state.pt").write_bytes(b"PK")
    with pytest.raises(BundleError, match=r"state\.pt: not a readable state of a training; leave --resume out"):
        train_phantom(tmp_path, resume=True, max_epochs=1)
