"""What a validation during training comes to, class by class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import Dataset
from monai.inferers import SimpleInferer
from torch import nn

from medseg.training import Validator
from medseg.training.validation import DicePerClass

METADATA: dict[str, Any] = {
    "name": "organs",
    "version": "1.0.0",
    "classes": {"liver": {"colour": [200, 60, 0]}, "spleen": {"colour": [0, 60, 200]}, "lesion": {"colour": [9, 9, 9]}},
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "value"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "spleen", "3": "lesion"}}},
    },
}


def dices(*cases: tuple[list[int], list[int]]) -> dict[str, float]:
    """Of (segmentation, label) pairs."""
    metric = DicePerClass({1: "liver", 3: "lesion", 2: "spleen"}, lambda output: output)
    for case in cases:
        metric.update(tuple(torch.tensor(each)[None, None] for each in case))  # type: ignore[arg-type]
    found: dict[str, float] = metric.compute()
    return found


def test_dice_is_the_mean_over_the_cases_that_have_the_class_and_a_miss_or_false_alarm_counts_nothing() -> None:
    found = dices(
        ([1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]),  # liver 2/3
        ([0, 0, 0, 0, 3, 3], [0, 0, 0, 0, 0, 3]),  # no liver, lesion 2/3
        ([1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 3, 3]),  # liver invented, lesion missed
    )
    assert found == pytest.approx({"liver": 1 / 3, "lesion": 1 / 3, "spleen": float("nan")}, nan_ok=True)


def test_small_case_weighs_as_much_as_a_large_one() -> None:
    assert dices(([1] * 8, [1] * 8), ([1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]))["liver"] == 0.5


class AsItIs(nn.Module):
    """The class of a pixel is its value in the image; not while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return self.weight * nn.functional.one_hot(image[:, 0].long(), 4).movedim(-1, 1).float()


def item(image: list[int], label: list[int]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor([[each]]).float() for key, each in (("image", image), ("label", label))}


def test_score_that_decides_is_the_mean_of_the_classes_that_occur() -> None:
    cases = [item([1, 1, 0, 0, 3], [1, 0, 0, 0, 3]), item([1, 1, 0, 0, 0], [1, 1, 0, 0, 0])]
    network = AsItIs().train()
    validator = Validator(
        device="cpu", dataset=Dataset(cases), network=network, inferer=SimpleInferer(), metadata=METADATA
    )
    validator.logger.disabled = True
    validator.run()
    metrics = validator.state.metrics
    assert metrics["val_dice"] == pytest.approx(((2 / 3 + 1) / 2 + 1) / 2)
    expected = {"val_dice/liver": 5 / 6, "val_dice/lesion": 1.0, "val_dice/spleen": float("nan")}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert len(validator.confidences) == 2
