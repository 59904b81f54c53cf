"""`medseg demo`: the whole way on made-up data, from nothing to a segmentation that lies on the scan."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

_BUNDLE = "phantom_ct_3d"
_PARTS = ("phantom", "training", "evaluation", "prediction")
_MARK = ".medseg-demo"  # in the folder of a demo
_console = Console(soft_wrap=True, highlight=False)


def demo(
    folder: Annotated[Path, typer.Argument(help="Everything goes here; an earlier demo there is replaced.")] = Path(
        "runs/demo"
    ),
    max_epochs: Annotated[int | None, typer.Option("--max_epochs", help="How long to train.")] = None,
) -> None:
    """Make a CT-like dataset, train on it, measure, segment a DICOM series: some minutes on two CPU cores.

    Example: medseg demo
    """
    from medseg.bundle.run import find_bundle, run_bundle
    from medseg.cli.run import quiet_libraries, scores_table
    from medseg.data.phantom import make_phantom

    quiet_libraries()
    logging.getLogger("medseg").setLevel(logging.INFO)
    _clear(folder)
    bundle, dataset, run = find_bundle(_BUNDLE), folder / "phantom", folder / "training"
    weights = {"checkpoint": str(run / "models" / "model.pt")}

    _step(f"making a dataset: {dataset}")
    make_phantom(dataset)

    _step("training")
    epochs = {} if max_epochs is None else {"max_epochs": max_epochs}
    run_bundle(bundle, "train.yaml", overrides={"dataset_dir": str(dataset), "output_dir": str(run), **epochs})

    _step("measuring on the validation cases")
    measured = _evaluator(
        run_bundle(
            bundle,
            "evaluate.yaml",
            overrides={
                "dataset_dir": str(dataset),
                "output_dir": str(folder / "evaluation"),
                "save_segmentations": True,
                **weights,
            },
        )
    )

    _step("segmenting the DICOM series")
    run_bundle(
        bundle,
        "inference.yaml",
        overrides={"input": str(dataset / "dicom_case"), "output_dir": str(folder / "prediction"), **weights},
    )
    sheet = _contact_sheet(folder, dataset, bundle)

    _console.print(scores_table(measured.evaluation))
    _console.print(
        f"\nThe picture of it: {sheet}\n\nThree commands to try next:\n"
        f"  mlflow ui                                  # in this folder: the run's curves\n"
        f"  medseg predict {_BUNDLE} --checkpoint {weights['checkpoint']} --input {dataset}/images\n"
        "  medseg train hippocampus_mri_3d --dataset_dir YOUR_DATASET   # images/ and labels/, real MRI"
    )


def _step(text: str) -> None:
    _console.print(f"==> {text}", style="bold")


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left, and nothing else.

    Raises:
        OutputError: if what is in the way is no demo's, or the folder cannot be written.
    """
    from medseg.errors import OutputError
    from medseg.files import check_output_dir

    there = [name for name in _PARTS if (folder / name).exists()]
    if there and not (folder / _MARK).is_file():
        raise OutputError(f"{folder / there[0]}: is there already, and no earlier demo made it; choose another folder")
    check_output_dir(folder)
    (folder / _MARK).touch()
    for name in there:
        shutil.rmtree(folder / name, ignore_errors=True)


def _evaluator(workflow: Any) -> Any:
    return workflow.parser.get_parsed_content("evaluator")


def _contact_sheet(folder: Path, dataset: Path, bundle: Path) -> Path:
    """One row per measured case and one for the DICOM case: true contours solid, segmented ones dashed."""
    from medseg.bundle.check import load_config
    from medseg.bundle.metadata import class_colours, class_names
    from medseg.images import read_image
    from medseg.pictures import Panel, contact_sheet, save

    metadata = load_config(bundle / "configs" / "metadata.json")
    rows = [
        (
            path.name.removesuffix(".nii.gz"),
            dataset / "images" / path.name,
            dataset / "labels" / path.name,
            path,
        )
        for path in sorted((folder / "evaluation").glob("*.nii.gz"))
    ]
    rows.append(
        (
            "DICOM series",
            dataset / "dicom_case",
            dataset / "dicom_case_label.nii.gz",
            folder / "prediction" / "dicom_case.nii.gz",
        )
    )
    panels = []
    for title, image_path, label_path, segmentation_path in rows:
        image, label, segmentation = map(read_image, (image_path, label_path, segmentation_path))
        panels.append(Panel(title, image.array, image.geometry.affine, label.array, segmentation.array, (-160, 240)))
    sheet = folder / "contact_sheet.png"
    save(contact_sheet(panels, colours=class_colours(metadata), class_names=class_names(metadata)), sheet)
    return sheet
