"""A deterministic, CT-like dataset: something to train on where no patient's scan may go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from medseg.data.anatomy import CLASS_NAMES, draw_abdomen
from medseg.errors import ConfigError, OutputError
from medseg.images import Geometry, write_dicom_series, write_labels, write_volume

__all__ = ["CLASS_NAMES", "make_phantom"]

# Case n is stored in orientation n modulo 4; case 0 is the DICOM series.
_ORIENTATIONS = ("LPS", "RAS", "LAS", "RAS")
_POINT_SPREAD_VOXELS = (0.5, 0.5, 0.4)
_HU_RANGE = (-1024, 3071)


@dataclass(frozen=True)
class _Scan:
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    geometry: Geometry


def make_phantom(folder: str | os.PathLike[str], *, cases: int = 12, seed: int = 0) -> None:
    """Write `cases` made-up abdomens as `images/case_NNN.nii.gz` and `labels/case_NNN.nii.gz`.

    One more, in no training list, is written as `dicom_case/` (a CT series) with its label in
    `dicom_case_label.nii.gz`. Images are int16 HU, about 92 x 72 x 28 voxels of 2 x 2 x 4.5 mm;
    spacing, size, place and orientation differ from case to case (every fifth is oblique, and every
    eighth has no spleen). Labels are the keys of `CLASS_NAMES`. The same seed gives the same files;
    case n is the same however many cases there are.

    Raises:
        ConfigError: `cases` is not from 1 to 999, or `seed` below 0.
        OutputError: `folder` holds files already or cannot be written.
    """
    if not 1 <= cases <= 999:
        raise ConfigError(f"cases is {cases}: expected a number from 1 to 999")
    if seed < 0:
        raise ConfigError(f"seed is {seed}: expected 0 or a number above")
    root = Path(folder)
    try:
        _make_folders(root)
        for number in range(1, cases + 1):
            scan, file = _scan(seed, number), f"case_{number:03d}.nii.gz"
            write_volume(root / "images" / file, scan.hu, scan.geometry)
            write_labels(root / "labels" / file, scan.labels, scan.geometry)
        scan = _scan(seed, 0)
        write_dicom_series(root / "dicom_case", scan.hu, scan.geometry, modality="CT", seed=f"phantom {seed}")
        write_labels(root / "dicom_case_label.nii.gz", scan.labels, scan.geometry)
    except OSError as error:
        raise OutputError(f"cannot write the phantom to {root}: {error.strerror or error}") from error


def _make_folders(root: Path) -> None:
    if root.exists() and any(root.iterdir()):
        raise OutputError(f"{root} is not empty: choose a new folder for the phantom, or delete this one")
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _scan(seed: int, number: int) -> _Scan:
    """Case `number` of the dataset of `seed`."""
    rng = np.random.default_rng([seed, number])
    geometry = _grid(rng, number)
    centre = geometry.affine[:3, :3] @ (np.array(geometry.shape) - 1) / 2 + geometry.affine[:3, 3]
    index = np.indices(geometry.shape, dtype=np.float32)
    linear = geometry.affine[:3, :3].astype(np.float32)
    offset = (geometry.affine[:3, 3] - centre).astype(np.float32)
    points = np.tensordot(linear, index, axes=1) + offset[:, None, None, None]
    hu, labels = draw_abdomen(points, rng, spleen=number % 8 != 4)
    return _Scan(_scanned(hu, rng), labels, geometry)


def _grid(rng: np.random.Generator, number: int) -> Geometry:
    """A grid whose centre lies anywhere within some cm of the scanner's origin."""
    in_plane, between = rng.uniform(1.9, 2.1), rng.choice([4.0, 4.5, 5.0])
    spacing = np.array([in_plane, in_plane, between]).round(2)
    shape = (int(rng.integers(90, 97)), int(rng.integers(70, 77)), int(rng.integers(26, 31)))
    signs = np.where([code in "RAS" for code in _ORIENTATIONS[number % 4]], 1.0, -1.0)
    tilt = (9.0, 0.0, 6.0) if number % 5 == 3 else (0.0, 0.0, 0.0)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * (signs * spacing)
    affine[:3, 3] = rng.uniform(-40, 40, 3).round(1) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Geometry(shape, affine)


def _scanned(hu: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int16]:
    """What a scanner makes of true HU: blur, noise that is smooth itself, and a little offset."""
    blurred = gaussian_filter(hu, _POINT_SPREAD_VOXELS)
    noise = gaussian_filter(rng.standard_normal(hu.shape, np.float32), _POINT_SPREAD_VOXELS)
    noise *= np.float32(rng.uniform(12, 20)) / noise.std()
    measured = blurred + noise + np.float32(rng.normal(0, 5))
    stored: NDArray[np.int16] = measured.round().clip(*_HU_RANGE).astype(np.int16)
    return stored
