"""`medseg weights`: published weights become a bundle's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.bundle.published import take_published
from medseg.bundle.run import find_bundle


def weights(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")],
    source: Annotated[str, typer.Option("--source", help="The published file, or 'hub' to fetch it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="To write; not given: models/model.pt of the bundle."),
    ] = None,
) -> None:
    """Convert published weights of a bundle's network into the bundle's own.

    Example: medseg weights brain_lgg_2d --source unet-e012d006.pt
    """
    typer.echo(f"wrote {take_published(find_bundle(bundle), source, output)}", err=True)
