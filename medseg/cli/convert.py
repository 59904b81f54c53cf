"""`medseg convert`: an image or label map in another format."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Foreground(str, Enum):
    """The colour of the structure in a black and white mask."""

    white = "white"
    black = "black"


def convert(
    source: Annotated[str, typer.Argument(help="An image or label: a file, a DICOM folder, or FOLDER::SERIES.")],
    destination: Annotated[
        Path, typer.Argument(help="Its suffix decides: .nii.gz, .nii, .nrrd, .mha, .png, .tif; .dcm for DICOM SEG.")
    ],
    image: Annotated[
        str | None,
        typer.Option("--image", help="The image that the source, a label map, belongs to: it goes on that grid."),
    ] = None,
    label: Annotated[bool, typer.Option("--label", help="Take the source for a label map.")] = False,
    palette: Annotated[Path | None, typer.Option("--palette", help="CSV: colours of a colour-coded label.")] = None,
    mask: Annotated[
        Foreground | None, typer.Option("--mask", help="A black and white mask, and the colour of the structure in it.")
    ] = None,
    nan: Annotated[float | None, typer.Option("--nan", help="Replace NaN and infinity by this.")] = None,
    structure: Annotated[
        str | None, typer.Option("--structure", help="Take this one of a label's structures: its name or value.")
    ] = None,
) -> None:
    """Convert an image or label map; voxels keep their values and their place in the world.

    An RT structure set needs its --image, and so does the writing of a DICOM SEG, which refers to it.
    Structures that overlap fit no label map: take each with --structure.

    Example: medseg convert dicom_series scan.nii.gz
    """
    from medseg.images.convert import convert as convert_file

    warnings = convert_file(
        source,
        destination,
        image=image,
        is_label=label,
        palette=palette,
        foreground=mask.value if mask else None,
        nan=nan,
        structure=structure,
    )
    for warning in warnings:
        typer.echo(f"medseg: warning: {warning}", err=True)
    typer.echo(str(destination))
