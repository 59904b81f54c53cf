"""A training that was interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from ignite.engine import Engine

from medseg.errors import BundleError, ConfigError, MedsegError, OutputError
from medseg.training.prepare import alone_in
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
    train_phantom: Train, interrupted: Train, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    client = mlflow.MlflowClient(tracking_uri)
    assert client.get_run(trainer.result()["mlflow_run"]).info.status == "FINISHED"
    assert (tmp_path / "models" / "fingerprint.json").is_file()


def test_running_average_goes_on_as_slowly_as_it_was(train_phantom: Train, interrupted: Train, tmp_path: Path) -> None:
    """At a rate of nothing from the interruption on: what is kept moves towards the weights by its own momentum."""
    given = EPOCHS | {"train::trainer::epoch_length": 2, "train::trainer::ema_momentum": 1.0e-6}
    before = interrupted(tmp_path, after=2, **given)["parts"]["average"]
    after = train_phantom(tmp_path, resume=True, **given).checkpoint.network.state_dict()
    name = "model.0.conv.unit0.conv.weight"
    assert torch.allclose(after[name], before[name], atol=1e-6)


def test_better_weights_of_before_the_interruption_are_kept(
    train_phantom: Train, interrupted: Train, tmp_path: Path
) -> None:
    state = interrupted(tmp_path, after=2)
    path, model = (tmp_path / "models" / name for name in ("state.pt", "model.pt"))
    state["parts"]["best"] = {"best_metric": 2.0, "best_epoch": 1}  # better than any
    state["parts"]["survey"] = {"confidences": [0.25, 0.5, 0.75]}
    torch.save(state, path)
    model.unlink(missing_ok=True)
    with pytest.raises(BundleError, match=r"model\.pt: the best weights, of epoch 1, are not there any more"):
        train_phantom(tmp_path, resume=True, **EPOCHS)
    model.write_bytes(before := b"the best of all")
    assert train_phantom(tmp_path, resume=True, **EPOCHS).result()["best_epoch"] == 1
    assert model.read_bytes() == before
    assert json.loads((tmp_path / "models" / "fingerprint.json").read_text())["confidence"] == [0.25, 0.75]


def test_training_of_other_settings_is_not_gone_on_with(
    train_phantom: Train, interrupted: Train, tmp_path: Path
) -> None:
    interrupted(tmp_path, after=1)
    files = sorted((tmp_path / "models").iterdir())
    with pytest.raises(ConfigError, match=r"is of a training with other seed; give what it was started with"):
        train_phantom(tmp_path, resume=True, seed=9, **EPOCHS)
    with pytest.raises(ConfigError, match=r"other fold, split::fold, split::names;"):
        train_phantom(tmp_path, resume=True, fold=1, **EPOCHS)
    with pytest.raises(ConfigError, match=r"other train::trainer::batch_size;"):
        train_phantom(tmp_path, resume=True, **EPOCHS | {"train::trainer::batch_size": 1})
    with pytest.raises(ConfigError, match=r"other max_epochs;"):
        train_phantom(tmp_path, resume=True, **EPOCHS | {"max_epochs": 9})
    assert sorted((tmp_path / "models").iterdir()) == files


def test_where_nothing_was_begun_a_training_starts(
    train_phantom: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = train_phantom(tmp_path, resume=True, max_epochs=1)
    assert "the training starts anew" in capsys.readouterr().err
    assert trainer.state.epoch == 1


@pytest.mark.parametrize("content", [b"PK", None])
def test_state_that_cannot_be_read_is_named(train_phantom: Train, tmp_path: Path, content: bytes | None) -> None:
    state = tmp_path / "models" / "state.pt"
    state.parent.mkdir()
    if content is None:  # weights in its place
        torch.save({"weight": torch.zeros(3)}, state)
    else:
        state.write_bytes(content)
    with pytest.raises(BundleError, match=r"state\.pt: not a readable state of a training \(.*\); leave --resume out"):
        train_phantom(tmp_path, resume=True, max_epochs=1)


def test_weights_without_a_state_are_not_replaced(train_phantom: Train, tmp_path: Path) -> None:
    train_phantom(tmp_path, max_epochs=1)
    (tmp_path / "models" / "state.pt").unlink()
    with pytest.raises(ConfigError, match=r"\.pt: there are weights, but no state to go on from"):
        train_phantom(tmp_path, resume=True, max_epochs=1)


def test_training_that_was_not_told_to_go_on_is_not_gone_on_with_later(train_phantom: Train, tmp_path: Path) -> None:
    """It fails before its first weights: those of the earlier one stay, but nothing goes on with them."""
    train_phantom(tmp_path, **EPOCHS)
    with pytest.raises(MedsegError, match="the training loss is"):
        train_phantom(tmp_path, **EPOCHS | {"optimizer::lr": 1e30, "train::trainer::gradient_clip": 1e30})
    assert (tmp_path / "models" / "model.pt").is_file()
    with pytest.raises(ConfigError, match="no state to go on from"):
        train_phantom(tmp_path, resume=True, **EPOCHS)


def test_weights_that_the_interruption_kept_from_being_written_are_written_then(
    train_phantom: Train, interrupted: Train, tmp_path: Path
) -> None:
    """It came between the state and the weights of the best epoch."""
    interrupted(tmp_path, after=1)
    best = tmp_path / "models" / "model.pt"
    assert not best.exists()
    result = train_phantom(tmp_path, resume=True, **EPOCHS).result()
    assert best.is_file() and result["best_epoch"] >= 1


def test_two_trainings_do_not_share_a_folder(train_phantom: Train, tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(OutputError, match="another training is at work there"):
        train_phantom(tmp_path, max_epochs=1)
    assert not (tmp_path / "models" / "model.pt").exists()
