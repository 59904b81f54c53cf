"""Weights of pixels between cells, against the formula spelt out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from monai.data import MetaTensor
from monai.transforms import Compose, ConcatItemsd
from numpy.typing import NDArray
from scipy.ndimage import label as numbered

from medseg.data.weight_map import BorderWeightsd, border_weights
from medseg.errors import ConfigError
from medseg.images import read_image
from medseg.losses import WeightedCrossEntropy


def by_formula(label: NDArray[np.int64], cell: int, w0: float, sigma: float) -> NDArray[np.float64]:
    """Every distance from every pixel to every pixel of every cell."""
    cells, count = numbered(label == cell)
    inside = int((label == cell).sum())
    weights = np.ones(label.shape)
    for place in np.ndindex(label.shape):
        if 0 < inside < label.size:
            weights[place] = label.size / (2 * (inside if cells[place] else label.size - inside))
        distances = sorted(
            min(math.dist(place, other) for other in np.argwhere(cells == number)) for number in range(1, count + 1)
        )
        if count > 1:
            weights[place] += w0 * math.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return weights


@given(
    label=npst.arrays(np.int64, npst.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)),
    cell=st.integers(0, 2),
    w0=st.floats(0, 20),
    sigma=st.floats(0.3, 10),
)
def test_equals_the_formula(label: NDArray[np.int64], cell: int, w0: float, sigma: float) -> None:
    expected = by_formula(label, cell, w0, sigma)
    np.testing.assert_allclose(border_weights(label, cell=cell, w0=w0, sigma=sigma), expected, rtol=1e-5, atol=1e-6)


@given(
    label=npst.arrays(np.int64, npst.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 1)),
    sigma=st.floats(0.3, 5),
)
def test_equals_the_formula_in_volumes(label: NDArray[np.int64], sigma: float) -> None:
    """Cells hang together by faces."""
    expected = by_formula(label, 1, 10.0, sigma)
    np.testing.assert_allclose(border_weights(label, sigma=sigma), expected, rtol=1e-5, atol=1e-6)
    mapped = BorderWeightsd(sigma=sigma)({"label": label[None]})["weight"]
    np.testing.assert_allclose(mapped[0], expected, rtol=1e-5, atol=1e-6)


def test_cells_wider_apart_than_their_windows() -> None:
    label = np.zeros((40, 60), dtype=np.int64)
    label[3:20, 2:11], label[15:33, 14:22], label[2:5, 50:58], label[38, 59] = 1, 1, 1, 1
    np.testing.assert_allclose(border_weights(label, sigma=1.5), by_formula(label, 1, 10.0, 1.5), rtol=1e-5)


def test_gap_of_three_pixels_by_hand() -> None:
    """Columns 0 to 3 and 7 to 9 are cells: the middle of the gap, two pixels from either, has d1 + d2 = 4."""
    label = np.zeros((6, 10), dtype=bool)
    label[:, :4], label[:, 7:] = True, True
    weights = border_weights(label)
    assert weights.dtype == np.float32
    assert weights[2] == pytest.approx(
        [
            10 / (2 * (7 if cell else 3)) + 10 * math.exp(-(apart**2) / 50)
            for cell, apart in zip(label[2], [7, 6, 5, 4, 4, 4, 4, 4, 5, 6], strict=True)
        ]
    )


def test_classes_weigh_the_same_in_sum_and_one_alone_weighs_1() -> None:
    label = np.zeros((20, 30), dtype=np.uint8)
    label[:, 4:8] = 5
    weights = border_weights(label, cell=5)
    assert weights[label == 5].sum() == pytest.approx(weights[label != 5].sum()) == pytest.approx(300)
    for value in (0, 5):
        assert (border_weights(np.full((4, 5), value), cell=5) == 1).all()


def test_real_membranes(data_dir: Path) -> None:
    """Membranes weigh much more than the inside of cells, thin ones the most, and the map is the formula's."""
    label = (read_image(data_dir / "em_membrane" / "labels" / "00.png").array.squeeze() > 0).astype(np.uint8)
    weights = border_weights(label)
    assert label.shape == weights.shape == (512, 512)
    assert weights[label == 0].mean() > 3 * weights[label == 1].mean()
    small = label[100:140, 200:240]
    np.testing.assert_allclose(border_weights(small), by_formula(small.astype(np.int64), 1, 10.0, 5.0), rtol=1e-5)


def test_transform_adds_a_map_where_the_label_is() -> None:
    label = MetaTensor(torch.zeros(1, 6, 8, dtype=torch.uint8), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    label[:, :, :3], label[:, :, 5:] = 1, 1
    given_data = {"label": label}
    data = BorderWeightsd("label", output="w", cell=1, w0=4, sigma=2)(given_data)
    assert set(given_data) == {"label"} and data["label"] is label
    assert isinstance(data["w"], MetaTensor) and torch.equal(data["w"].affine, label.affine)
    assert data["w"].shape == (1, 6, 8) and data["w"].dtype == torch.float32
    np.testing.assert_array_equal(data["w"][0].numpy(), border_weights(label[0].numpy(), w0=4, sigma=2))
    assert isinstance(BorderWeightsd()({"label": label.numpy()})["weight"], np.ndarray)
    assert BorderWeightsd(allow_missing_keys=True)({}) == {}


def test_label_and_map_reach_the_loss_as_two_channels() -> None:
    label = MetaTensor(torch.randint(2, (1, 12, 12), generator=torch.Generator().manual_seed(0)))
    data = Compose([BorderWeightsd(cell=1), ConcatItemsd(["label", "weight"], name="label")])({"label": label})
    assert data["label"].shape == (2, 12, 12) and torch.equal(data["label"][:1], label)
    logits = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.from_numpy(border_weights(label[0].numpy()))[4:8, 4:8]
    entropy = torch.nn.functional.cross_entropy(logits, label[:, 4:8, 4:8].as_tensor(), reduction="none")
    expected = (weights * entropy).sum() / weights.sum()
    assert torch.isclose(WeightedCrossEntropy()(logits, data["label"][None].as_tensor()), expected)


def test_what_does_not_fit_is_refused() -> None:
    for w0, sigma in ((-1, 5), (10, 0), (10, math.inf), (math.nan, 5)):
        with pytest.raises(ConfigError, match=r"^border weights of w0 .* expected 0 or more, and more than 0$"):
            BorderWeightsd(w0=w0, sigma=sigma)
    with pytest.raises(ConfigError, match=r"^BorderWeightsd of \['a', 'b'\]: expected one key"):
        BorderWeightsd(["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"^label of shape \(2, 4, 4\): BorderWeightsd takes \(1, H, W\) or \(1, i, j, k\)$"
    ):
        BorderWeightsd()({"label": torch.zeros(2, 4, 4)})
    with pytest.raises(ValueError, match=r"^label of shape \(4,\): expected \(H, W\) or \(i, j, k\)$"):
        border_weights(np.zeros(4))
