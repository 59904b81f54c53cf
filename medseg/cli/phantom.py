"""`medseg phantom`: a made-up CT dataset to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def phantom(
    folder: Annotated[Path, typer.Argument(help="A new folder for images/, labels/ and dicom_case/.")],
    cases: Annotated[int, typer.Option("--cases", help="How many labelled cases.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other patients.")] = 0,
) -> None:
    """Write a made-up CT dataset with liver, spleen and kidneys: NIfTI, and one case as a DICOM series.

    Example: medseg phantom runs/phantom
    """
    from medseg.data.phantom import make_phantom

    make_phantom(folder, cases=cases, seed=seed)
    typer.echo(f"{folder}: {cases} cases in images/ and labels/, and dicom_case/")
