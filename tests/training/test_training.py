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

from medseg.errors import ConfigError, MedsegError, OutputError
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
    assert len(list((tmp_path / "run" / "pictures").glob("*.png"))) == 2
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


def test_one_seed_gives_the_same_weights_and_another_gives_others(train_phantom: Train, tmp_path: Path) -> None:
    first, second = (train_phantom(tmp_path / name, seed=5) for name in ("one", "two"))
    assert same(first, second)
    assert not same(first, train_phantom(tmp_path / "three", seed=6))


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


def test_loss_that_is_no_number_ends_the_run_as_failed(train_phantom: Train, tracking_uri: str, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match="the training loss is nan in epoch 1: lower the learning rate"):
        train_phantom(tmp_path, **{"optimizer::lr": 1.0e30, "seed": 77, "train::trainer::gradient_clip": 1.0e30})
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("phantom_ct_3d")
    (run,) = client.search_runs([experiment.experiment_id], "params.seed = '77'")
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere does not exist"),
        ({"max_epochs": 0}, "max_epochs 0: give a whole number of at least 1"),
        ({"max_epochs": "many"}, "max_epochs 'many'"),
        ({"seed": -1}, "seed -1"),
        ({"fold": 5}, "fold is 5"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
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
