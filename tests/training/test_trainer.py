"""One step, one epoch and one score at a time, of a network of one weight."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset, DistributedSampler
from monai.inferers import SimpleInferer
from monai.transforms import RandShiftIntensityd
from torch import nn

from medseg.descent import Descent, heads_of
from medseg.training import Trainer, Validator
from medseg.training import trainer as training
from medseg.training.checkpoint import BestAndLast

METADATA: dict[str, Any] = {
    "name": "tiny",
    "version": "1.0.0",
    "classes": {"bright": {"colour": [200, 60, 200]}},
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "value"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "bright"}}},
    },
}


class Tiny(nn.Module):
    """A convolution and a normalisation that counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(1)
        self.last = nn.Conv2d(1, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.norm(image))
        return found


def cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, label[:, 0].long())


def items(count: int = 2) -> list[dict[str, torch.Tensor]]:
    image = torch.arange(16.0).reshape(1, 4, 4) / 16
    return [{"image": image + index, "label": (image > 0.5).float()} for index in range(count)]


def trainer_of(folder: Path, tracking_uri: str, *, lr: float = 0.1, **given: Any) -> Trainer:
    network = Tiny()
    validator = Validator(
        device="cpu", dataset=Dataset(items(1)), network=network, inferer=SimpleInferer(), metadata=METADATA
    )
    parts: dict[str, Any] = {
        "dataset": Dataset(items()),
        "batch_size": 2,
        "max_epochs": 2,
        "val_interval": 1,
        "optimizer": torch.optim.SGD(network.parameters(), lr=lr),
        "loss": cross_entropy,
    }
    return Trainer(
        device="cpu", network=network, validator=validator, output_dir=str(folder), metadata=METADATA,
        precision="fp32", tracking_uri=tracking_uri, **parts | given,
    )  # fmt: skip


def batch() -> dict[str, torch.Tensor]:
    return {key: torch.stack([each[key] for each in items()]) for key in ("image", "label")}


def test_gradients_are_those_of_one_batch(tracking_uri: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tracking_uri, lr=0.0)
    found = []
    for _ in range(2):
        trainer._train_on_batch(trainer, batch())
        found.append(trainer.network.last.weight.grad.clone())
    assert torch.equal(*found) and found[0].any()


def test_network_is_trained_as_such_after_it_was_validated(tracking_uri: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tracking_uri)
    trainer.network.eval()
    trainer._train_on_batch(trainer, batch())
    assert trainer.network.training


def test_weights_that_are_validated_are_those_that_are_kept(tracking_uri: str, tmp_path: Path) -> None:
    plain, averaged = (trainer_of(tmp_path, tracking_uri, ema_momentum=each) for each in (None, 0.1))
    assert plain.validator.network is plain.checkpoint.network is plain.network
    assert averaged.validator.network is averaged.checkpoint.network is not averaged.network


def test_average_starts_from_trained_weights_and_averages_what_the_normalisation_counts(
    tracking_uri: str, tmp_path: Path
) -> None:
    trainer = trainer_of(tmp_path, tracking_uri, ema_momentum=1e-9, max_epochs=10)
    first: dict[str, torch.Tensor] = {}
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=1),
        lambda: first.update({name: each.clone() for name, each in trainer.network.state_dict().items()}),
    )
    trainer.run()
    kept = trainer.checkpoint.network.state_dict()
    for name in ("last.weight", "norm.running_mean"):
        assert torch.allclose(kept[name], first[name], atol=1e-6), "of the first step, and the average hardly moves"
        assert not torch.allclose(trainer.network.state_dict()[name], first[name])


def test_loss_that_is_told_is_the_mean_of_the_epoch(tracking_uri: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tracking_uri, lr=0.0, epoch_length=3, max_epochs=3, batch_size=2)
    trainer.run()
    network = Tiny().train()
    expected = cross_entropy(network(batch()["image"]), batch()["label"]).item()
    assert trainer.state.metrics["train_loss"] == pytest.approx(expected)


def test_every_item_is_seen_in_another_order(tracking_uri: str, tmp_path: Path) -> None:
    many = Dataset(items(16))
    trainer = trainer_of(tmp_path, tracking_uri, dataset=many, batch_size=16)
    seen: list[list[float]] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: seen.append(trainer.state.batch["image"][:, 0, 0, 0].tolist())
    )
    trainer.run()
    assert [sorted(each) for each in seen] == [list(range(16))] * 2
    assert seen[0] != seen[1] and list(range(16)) not in seen


def test_best_weights_are_those_of_the_highest_score(tmp_path: Path) -> None:
    network, validator, trainer = nn.Linear(1, 1), Engine(lambda *_: None), Engine(lambda *_: None)
    checkpoint = BestAndLast(tmp_path, network, validator, "dice")
    checkpoint.attach(trainer)
    for epoch, score in enumerate((0.2, 0.7, 0.5, 0.7), start=1):
        nn.init.constant_(network.weight, epoch)
        trainer.state.epoch, validator.state.metrics = epoch, {"dice": score, "other": epoch}
        validator.fire_event(Events.COMPLETED)
        checkpoint.begin(epoch)
        checkpoint.save(epoch)
    assert (checkpoint.best_metric, checkpoint.best_epoch) == (0.7, 2)
    best, last = (
        torch.load(path, weights_only=True)["weight"] for path in (checkpoint.best_path, checkpoint.last_path)
    )
    assert (float(best), float(last)) == (2, 4)


def test_best_score_stands_at_its_epoch_in_mlflow(tracking_uri: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tracking_uri, max_epochs=3)
    trainer.checkpoint.load_state_dict({"best_metric": 2.0, "best_epoch": 1})
    trainer.run()
    client = mlflow.MlflowClient(tracking_uri)
    (best,) = client.get_metric_history(trainer.result()["mlflow_run"], "best_val_dice")
    assert (best.step, best.value) == (1, 2.0)


def test_processes_draw_other_patches(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    for number in (0, 1):
        torch.manual_seed(7)
        monkeypatch.setattr(training, "rank", lambda number=number: number)
        training._loader(Dataset(items()), 2, torch.device("cpu"), 0)
        seeds.append(torch.initial_seed())
    assert seeds == [7, 8]


def test_processes_share_the_items_out_anew_every_epoch(tracking_uri: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tracking_uri)
    sampler = DistributedSampler(Dataset(items(16)), num_replicas=2, rank=0, shuffle=True)
    trainer.data_loader = SimpleNamespace(sampler=sampler)
    orders = []
    for trainer.state.epoch in (1, 2):
        trainer._start_epoch(trainer)
        orders.append(list(sampler))
    assert orders[0] != orders[1]


def test_training_that_goes_on_does_not_see_the_first_patches_again(tracking_uri: str, tmp_path: Path) -> None:
    def seen(**given: Any) -> tuple[list[int], list[float]]:
        """The numbers of the items of the first batch, and what was drawn for each."""
        shift = RandShiftIntensityd("image", offsets=1.0, prob=1.0).set_random_state(3)
        many = [{**each, "image": torch.zeros(1, 4, 4), "number": n} for n, each in enumerate(items(16))]
        trainer = trainer_of(tmp_path, tracking_uri, dataset=Dataset(many, shift), batch_size=16, **given)
        found: list[tuple[list[int], list[float]]] = []

        def look() -> None:
            batch = trainer.state.batch
            found.append((batch["number"].tolist(), batch["image"][:, 0, 0, 0].tolist()))

        trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
        trainer.run()
        (first,) = found
        return first

    before, after = seen(max_epochs=1), seen(max_epochs=2, resume=True)
    assert before[0] != after[0] and before[1] != after[1]


def step(gradient_clip: float | None) -> float:
    """How far one step of rate 1 moves a weight whose gradient is 30."""
    weight = nn.Parameter(torch.zeros(1))
    given: dict[str, Any] = {"device": torch.device("cpu"), "precision": torch.float32, "gradient_clip": gradient_clip}
    descent = Descent(torch.optim.SGD([weight], lr=1.0), nn.MSELoss(), **given)
    descent.step(30 * weight.sum())
    return abs(weight.item())


def test_gradients_are_clipped_where_asked() -> None:
    assert step(None) == 30 and step(2.0) == pytest.approx(2.0) and step(100.0) == 30


def test_finest_head_comes_first_and_counts_most() -> None:
    stacked = torch.stack([torch.full((2, 1, 4, 4), value) for value in (1.0, 5.0)], dim=1)
    assert [float(each.mean()) for each in heads_of(stacked, 4)] == [1, 5]
    given: dict[str, Any] = {"device": torch.device("cpu"), "precision": torch.float32, "gradient_clip": None}
    descent = Descent(torch.optim.SGD([nn.Parameter(torch.zeros(1))]), nn.L1Loss(), **given)
    assert float(descent.loss(stacked, torch.zeros(2, 1, 4, 4))) == pytest.approx(1 + 5 / 2)
