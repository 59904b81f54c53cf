"""The glioma bundle takes patients' volumes too: three NIfTI files of one grid each, and a label on it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.run import find_bundle, find_layer, run_bundle
from medseg.errors import DatasetError
from medseg.images import Geometry, read_geometry, read_image, read_label, write_labels, write_volume

SIDE = slice(96, 160)  # what is cut out of every slice


@pytest.fixture(scope="module")
def volumes(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real slices of three patients stacked; one patient's rows and columns run the other way."""
    folder = tmp_path_factory.mktemp("volumes")
    patients: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((data_dir / "brain_lgg" / "images").iterdir()):
        patients[path.stem.rpartition("_")[0]].append(path)
    for number, (name, slices) in enumerate(patients.items()):
        labels = [path.parents[1] / "labels" / path.name for path in slices]
        image, label = (
            np.concatenate([read_image(path).array[SIDE, SIDE] for path in each], 2) for each in (slices, labels)
        )
        sign = 1 if number == 1 else -1
        image, label = (each[::-sign, ::-sign] for each in (image, label))
        grid = Geometry(label.shape, np.diag([sign, sign, 5.0, 1.0]))
        for channel in range(3):
            write_volume(folder / "images" / f"{name}_{channel:04d}.nii.gz", image[..., channel].astype(np.int16), grid)
        write_labels(folder / "labels" / f"{name}.nii.gz", (label > 0).astype(np.uint8), grid)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_volumes_and_slices_that_were_taken_for_the_other_are_refused_before_the_training(
    volumes: Path, data_dir: Path, tmp_path: Path
) -> None:
    bundle = find_bundle("brain_lgg_2d")
    given: dict[str, Any] = {"device": "cpu", "output_dir": str(tmp_path)}
    with pytest.raises(DatasetError, match=r"_0000\.nii\.gz: has 3 dimensions; .* images of 2: add --layer volumes$"):
        run_bundle(bundle, "train.yaml", overrides=given | {"dataset_dir": str(volumes)})
    with pytest.raises(DatasetError, match=r"_08\.tif: has 2 dimensions; .* images of 3: leave the layer volumes out$"):
        run_bundle(
            bundle,
            "train.yaml",
            layers=[find_layer("volumes", bundle)],
            overrides=given | {"dataset_dir": str(data_dir / "brain_lgg")},
        )


@pytest.mark.filterwarnings("ignore")
def test_volumes_are_trained_on_by_slices_and_measured_and_segmented_whole(
    volumes: Path, tracking_uri: str, tmp_path: Path
) -> None:
    bundle = find_bundle("brain_lgg_2d")
    given: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
    workflow = run_bundle(
        bundle,
        "train.yaml",
        layers=[find_layer(name, bundle) for name in ("volumes", "smoke")],
        overrides={
            **given, "dataset_dir": str(volumes), "output_dir": str(tmp_path / "run"), "patch_size": [64, 64],
            "tracking_uri": tracking_uri, "max_epochs": 1, "train::trainer::epoch_length": 1,
        },
    )  # fmt: skip
    trainer = workflow.parser.get_parsed_content("train::trainer")
    assert trainer.state.batch["image"].shape == (4, 3, 64, 64)

    measured = run_bundle(
        bundle,
        "evaluate.yaml",
        overrides={
            **given, "dataset_dir": str(volumes), "output_dir": str(tmp_path / "measured"), "fold": "all",
            "checkpoint": trainer.result()["checkpoint"], "tracking_uri": tracking_uri,
        },
    )  # fmt: skip
    summary = measured.parser.get_parsed_content("evaluator").evaluation.summary()
    assert summary["cases"] == 3 and not summary["failed"]
    assert summary["measures"]["patients"]["tumour"]["images"] == 3

    output = tmp_path / "predictions"
    run_bundle(
        bundle,
        "inference.yaml",
        overrides={
            **given, "input": str(volumes / "images"), "output_dir": str(output),
            "checkpoint": trainer.result()["checkpoint"],
        },
    )  # fmt: skip
    for label in (volumes / "labels").iterdir():
        assert read_geometry(output / label.name).agrees_with(read_geometry(label))
        np.testing.assert_allclose(nib.load(output / label.name).affine, nib.load(label).affine)
        assert set(np.unique(read_label(output / label.name).array)) <= {0, 1}
