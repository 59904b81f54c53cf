"""A training run by its bundle: what it leaves, that it repeats, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import torch
import yaml
from mlflow.entities import Run
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medseg.bundle.run import find_bundle, run_bundle
from medseg.errors import ConfigError, MedsegError, OutputError
from medseg.networks import BrainUNet, as_two_channels
from medseg.training import prepare

Train = Callable[..., Any]
REPOSITORY = Path(__file__).parents[2]


def mlflow_run(trainer: Any, tracking_uri: str) -> Run:
    return mlflow.MlflowClient(tracking_uri).get_run(trainer.result()["mlflow_run"])


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(trainer.checkpoint.last_path, weights_only=True)
    return state


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))


def test_run_leaves_weights_config_pictures_and_one_mlflow_run(
    train_phantom: Train, tracking_uri: str, tmp_path: Path, phantom: Path
) -> None:
    trainer = train_phantom(tmp_path / "run", seed=3)
    assert set(weights(trainer)) == set(trainer.network.state_dict())
    assert (tmp_path / "run" / "models" / "model.pt").is_file()
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["seed"] == 3
    pictures = sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir())
    assert pictures == ["learning_curves.png", "validation_epoch_0001.png", "validation_epoch_0002.png"]
    run = mlflow_run(trainer, tracking_uri)
    assert run.info.status == "FINISHED"
    assert {"train_loss", "learning_rate", "epoch_seconds", "best_val_dice"} <= set(run.data.metrics)
    assert {"val_dice/mean", "val_dice/liver", "val_dice/spleen", "val_dice/kidneys"} <= set(run.data.metrics)
    assert run.data.params["seed"] == "3"
    tags = run.data.tags
    assert (tags["bundle"], tags["device"], tags["fold"]) == ("phantom_ct_3d", "cpu", "0")
    assert len(tags["dataset_fingerprint"]) == 16
    assert str(phantom) not in json.dumps(run.to_dictionary()), "a local path may carry a patient's name"
    client = mlflow.MlflowClient(tracking_uri)
    names = {
        file.path for folder in ("", "validation", "model") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"config.yaml", "environment.txt", "model/model.pt", "validation/validation_epoch_0002.png"} <= names
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [measure.step for measure in history] == [1, 2]


def test_run_on_a_list_of_ones_own_tells_of_that_list(
    train_phantom: Train, tracking_uri: str, tmp_path: Path, phantom: Path
) -> None:
    names = ("images", "image"), ("labels", "label")
    mine = [{key: str(phantom / folder / "case_002.nii.gz") for folder, key in names}]
    trainer = train_phantom(tmp_path / "run", **{"train::dataset::data": mine})
    tags = mlflow_run(trainer, tracking_uri).data.tags
    assert tags["training_cases"] == "1" and "dataset_fingerprint" not in tags and "fold" not in tags
    assert json.loads((tmp_path / "run" / "models" / "fingerprint.json").read_text())["cases"] == 1
    run = mlflow_run(trainer, tracking_uri)
    assert str(phantom) not in json.dumps(run.to_dictionary())
    kept = mlflow.MlflowClient(tracking_uri).download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
    assert "case_002" not in Path(kept).read_text()


def test_one_seed_gives_the_same_weights_and_another_gives_others(train_phantom: Train, tmp_path: Path) -> None:
    first, second = (train_phantom(tmp_path / name, seed=5) for name in ("one", "two"))
    assert same(first, second)
    assert not same(first, train_phantom(tmp_path / "three", seed=6))


def test_weights_that_are_kept_are_the_running_average_of_those_trained(train_phantom: Train, tmp_path: Path) -> None:
    plain = train_phantom(tmp_path / "plain")
    quick = train_phantom(tmp_path / "quick", **{"train::trainer::ema_momentum": 1 - 1e-6})
    slow = train_phantom(tmp_path / "slow", **{"train::trainer::ema_momentum": 1.0e-9})
    trained = plain.network.state_dict()
    for name, kept in weights(quick).items():
        assert torch.equal(quick.network.state_dict()[name], trained[name]), "what is trained is the same"
        assert torch.allclose(kept, trained[name], atol=1e-4)
    name = "model.0.conv.unit0.conv.weight"
    assert not torch.allclose(weights(slow)[name], trained[name]), "the first step's were kept"


def test_deep_supervision_trains_every_head(train_phantom: Train, tmp_path: Path) -> None:
    network = {
        "_target_": "DynUNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 4,
        "filters": [4, 8, 8],
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "deep_supervision": True,
        "deep_supr_num": 1,
    }
    overrides = {"network_def": network, "network_def::channels": None}
    trainer = train_phantom(tmp_path, **{k: v for k, v in overrides.items() if v is not None})
    heads = [p for name, p in trainer.network.named_parameters() if "deep_supervision_heads" in name]
    assert heads and all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in heads)


def test_schedule_lowers_the_rate_each_epoch(train_phantom: Train, tracking_uri: str, tmp_path: Path) -> None:
    trainer = train_phantom(tmp_path, max_epochs=4)
    run = mlflow_run(trainer, tracking_uri)
    history = mlflow.MlflowClient(tracking_uri).get_metric_history(run.info.run_id, "learning_rate")
    rates = [measure.value for measure in history]
    assert len(rates) == 4 and rates[0] < rates[2] and rates[2] > rates[3]  # two of warm-up, then down


def test_plateau_in_the_validations_lowers_the_rate(
    train_phantom: Train, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once a validation, here in epochs 2, 4 and 5, by the score: of which none is better by 1 than the first."""
    seen: list[float] = []
    step = ReduceLROnPlateau.step
    monkeypatch.setattr(ReduceLROnPlateau, "step", lambda self, score: (seen.append(score), step(self, score))[1])
    schedule = {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "optimizer": "@optimizer",
        "mode": "max",
        "patience": 0,
        "threshold": 1.0,
        "threshold_mode": "abs",
    }
    trainer = train_phantom(tmp_path, lr_scheduler=schedule, max_epochs=5, val_interval=2)
    run = mlflow_run(trainer, tracking_uri)
    client = mlflow.MlflowClient(tracking_uri)
    scores, rates = (client.get_metric_history(run.info.run_id, name) for name in ("val_dice/mean", "learning_rate"))
    assert [measure.step for measure in scores] == [2, 4, 5]
    assert seen == [measure.value for measure in scores]
    assert [measure.value for measure in rates] == pytest.approx([5e-3] * 4 + [5e-4])


def test_without_validation_cases_the_last_weights_are_the_model(
    train_phantom: Train, tracking_uri: str, tmp_path: Path
) -> None:
    trainer = train_phantom(tmp_path, fold="all")
    result = trainer.result()
    assert (result["best_val_dice"], result["best_epoch"]) == (None, 2)
    model = torch.load(result["checkpoint"], weights_only=True)
    assert Path(result["checkpoint"]) == tmp_path / "models" / "model.pt"
    assert model.keys() == weights(trainer).keys()
    assert all(torch.equal(model[name], each) for name, each in trainer.network.state_dict().items())
    run = mlflow_run(trainer, tracking_uri)
    assert run.info.status == "FINISHED"
    assert not [name for name in run.data.metrics if "dice" in name], "what was not measured is no number"
    files = mlflow.MlflowClient(tracking_uri).list_artifacts(run.info.run_id, "model")
    assert {file.path for file in files} == {"model/model.pt", "model/fingerprint.json"}


def test_training_that_fails_leaves_an_earlier_one_whole(train_phantom: Train, tmp_path: Path) -> None:
    train_phantom(tmp_path, max_epochs=1)
    (tmp_path / "models" / "decision.json").write_text("{}")
    (tmp_path / "models" / "state.pt").unlink()  # to go on with that one would be to forget this one
    files = [tmp_path / "config.yaml", *sorted((tmp_path / "models").iterdir())]
    before = [path.read_bytes() for path in files]
    with pytest.raises(MedsegError, match="the training loss is"):
        train_phantom(tmp_path, seed=5, **{"optimizer::lr": 1e30, "train::trainer::gradient_clip": 1e30})
    assert [path.read_bytes() for path in files] == before
    assert sorted((tmp_path / "models").iterdir()) == files[1:]


def test_weights_do_not_lie_beside_what_was_chosen_for_earlier_ones(train_phantom: Train, tmp_path: Path) -> None:
    for seed in (4, 5):
        train_phantom(tmp_path, max_epochs=1, seed=seed)
        assert not (tmp_path / "models" / "decision.json").exists()
        (tmp_path / "models" / "decision.json").write_text("{}")
        assert yaml.safe_load((tmp_path / "config.yaml").read_text())["seed"] == seed


def test_process_does_not_end_while_a_dataset_is_being_read(tmp_path: Path) -> None:
    """As when another thread of `CacheDataset` has failed."""
    program = f"""
import time
from multiprocessing.pool import ThreadPool
from medseg.training import prepare
prepare(seed=0, max_epochs=1, output_dir={str(tmp_path)!r}, device="cpu")
with ThreadPool(1) as pool:
    pool.apply_async(lambda: (time.sleep(1), print("read")))
    time.sleep(0.2)
raise SystemExit(1)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "read\n"), done.stderr


@pytest.fixture
def train_glioma(data_dir: Path, tracking_uri: str, tmp_path: Path) -> Train:
    """Train the bundle of MRI slices for one step, with overrides; gives the trainer."""

    def train(**overrides: Any) -> Any:
        given = {
            "dataset_dir": str(data_dir / "brain_lgg"),
            "output_dir": str(tmp_path / "run"),
            "tracking_uri": tracking_uri,
            "device": "cpu",
            "patch_size": [32, 32],
            "inferer::roi_size": [256, 256],
            "max_epochs": 1,
            "max_cases": 4,
            "train::trainer::batch_size": 2,
            "train::trainer::epoch_length": 1,
        }
        workflow = run_bundle(find_bundle("brain_lgg_2d"), "train.yaml", overrides=given | overrides)
        return workflow.parser.get_parsed_content("train::trainer")

    return train


def kernels(network: torch.nn.Module, dims: int) -> list[torch.Tensor]:
    return [each for each in network.parameters() if each.ndim == 2 + dims and min(each.shape) > 1]


def test_training_starts_from_published_weights_where_asked(train_glioma: Train, tmp_path: Path) -> None:
    """Of one channel, as published, in a file made here: at a rate of nothing they are what is left."""
    torch.manual_seed(9)
    published = BrainUNet()
    torch.save(published.state_dict(), tmp_path / "unet.pt")
    trainer = train_glioma(**{"pretrained": str(tmp_path / "unet.pt"), "optimizer::lr": 0.0})
    expected, left = as_two_channels(published.state_dict()), weights(trainer)
    names = dict(trainer.network.named_parameters())
    assert all(torch.equal(left[name], expected[name]) for name in names) and len(left["conv.bias"]) == 2


def test_network_of_pictures_is_trained_with_its_channels_last(
    train_glioma: Train, train_phantom: Train, tmp_path: Path
) -> None:
    flat = kernels(train_glioma().network, 2)
    assert flat and all(each.is_contiguous(memory_format=torch.channels_last) for each in flat)
    deep = kernels(train_phantom(tmp_path / "phantom").network, 3)
    assert deep and all(each.is_contiguous() for each in deep)


def test_published_weights_that_are_not_there_end_the_run_before_it_starts(train_glioma: Train, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match=r"nowhere\.pt"):
        train_glioma(pretrained=str(tmp_path / "nowhere.pt"))
    assert not (tmp_path / "run" / "models").exists()


def test_loss_that_is_no_number_ends_the_run_as_failed(train_phantom: Train, tracking_uri: str, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match="the training loss is nan in epoch 1: lower the learning rate"):
        train_phantom(tmp_path, **{"optimizer::lr": 1.0e30, "seed": 77, "train::trainer::gradient_clip": 1.0e30})
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("phantom_ct_3d")
    (run,) = client.search_runs([experiment.experiment_id], "params.seed = '77'")
    assert run.info.status == "FAILED"


def test_error_ends_the_run_on_a_terminal_too(
    train_phantom: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(MedsegError, match="the training loss is nan"):
        train_phantom(tmp_path, **{"optimizer::lr": 1.0e30, "train::trainer::gradient_clip": 1.0e30})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere does not exist"),
        ({"max_epochs": 0}, "max_epochs 0: give a whole number of at least 1"),
        ({"max_epochs": "many"}, "max_epochs 'many'"),
        ({"seed": -1}, "seed -1"),
        ({"fold": 5}, "fold is 5"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
        ({"train::trainer::ema_momentum": 1}, "ema_momentum 1: expected more than 0 and less than 1"),
        ({"precision": "fp17"}, "precision 'fp17'"),
        ({"output_dir": "/proc/nowhere"}, "output_dir /proc/nowhere: cannot be written"),
        ({"tracking_uri": "some/folder"}, "tracking_uri"),
    ],
)
def test_bad_value_is_one_clear_error_before_the_first_epoch(
    train_phantom: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MedsegError) as caught:
        train_phantom(**{"output_dir": tmp_path / "run", **overrides})
    assert message in str(caught.value)
    assert not (tmp_path / "run" / "models").exists()


def test_full_disk_is_told_before_the_first_epoch(
    train_phantom: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(OutputError, match="1 MiB free, 512 needed"):
        train_phantom(tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"patch_size": "abc"},
            r"^monai\.transforms\.croppad\.\S+: cannot be applied: .*check the values that the config",
        ),
        ({"patch_size": [32, 32]}, r"^monai\.transforms\.croppad\.\S+: cannot be applied: "),
        (
            {"patch_size": [31, 31, 16]},
            r"^the network or the loss cannot take a batch of \d x 1 channels of 31 x 31 x 16: ",
        ),
        (
            {"network_def::in_channels": 2},
            r"^the network or the loss cannot take a batch of .* 2 channels, but got 1 ch",
        ),
        ({"network_def::channels": [4]}, r"^monai\.networks\.nets\.unet\.UNet: cannot be built: .*check the values"),
        ({"train::trainer::epoch_length": 0}, r"^epoch_length 0: give a whole number of at least 1$"),
        ({"max_cases": "few"}, r"^max_cases 'few': give a whole number"),
    ],
)
def test_values_that_cannot_be_trained_with_are_one_line(
    train_phantom: Train, tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        train_phantom(tmp_path / "run", **overrides)
    assert "\n" not in str(caught.value)


def test_torchrun_without_its_layer_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"overwrite each other's checkpoints; add the layer configs/multi_gpu\.yaml"):
        prepare(seed=0, max_epochs=1, output_dir=str(tmp_path), device="cpu")


def command(phantom: Path, tracking_uri: str, output_dir: Path, *layers: str) -> list[str]:
    configs = ["bundles/phantom_ct_3d/configs/train.yaml", *(f"configs/{layer}.yaml" for layer in layers)]
    return [
        *("-m", "monai.bundle", "run", "--config_file", str([str(REPOSITORY / each) for each in configs])),
        *("--dataset_dir", str(phantom), "--output_dir", str(output_dir), "--tracking_uri", tracking_uri),
        *("--patch_size", "[32,32,16]", "--network_def::channels", "[4,8,8,8]"),
    ]


def test_two_gloo_processes_train_one_model(phantom: Path, tracking_uri: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *command(phantom, tracking_uri, tmp_path / "run", "smoke", "multi_gpu"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2") == 1, "one process tells"
    assert torch.load(tmp_path / "run" / "models" / "last.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in torch.load(tmp_path / "run" / "models" / "last.pt"))


def test_terminated_training_is_marked_killed(phantom: Path, tracking_uri: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *command(phantom, tracking_uri, tmp_path / "run"), "--seed", "4242"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("phantom_ct_3d")
    deadline = time.monotonic() + 20
    while not (runs := client.search_runs([experiment.experiment_id], "params.seed = '4242'")):
        assert time.monotonic() < deadline
    assert [run.info.status for run in runs] == ["KILLED"]
