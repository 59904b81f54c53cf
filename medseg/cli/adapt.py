"""`medseg adapt`: a bundle for other classes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from medseg.bundle.adapt import adapt as adapt_bundle
from medseg.bundle.run import find_bundle
from medseg.errors import ImageError
from medseg.images.palette_table import Palette


def adapt(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")],
    palette: Annotated[
        Path, typer.Option("--palette", help="The classes and their colours: name,r,g,b; the background first.")
    ],
    output_dir: Annotated[Path, typer.Option("--output_dir", "-o", help="The new bundle's folder; its name too.")],
    background: Annotated[
        str | None,
        typer.Option("--background", help="The palette's background, if not its first: a name, #rrggbb or r,g,b."),
    ] = None,
) -> None:
    """Make a bundle for other classes out of one: the same recipe, to be trained anew.

    Example: medseg adapt colour_masks_2d --palette palette.csv -o my_masks_2d
    """
    colours = Palette.from_csv(palette, background=background)
    ground = [each.colour for each in colours.entries if each.value == 0]
    if not ground:
        raise ImageError(f"{palette}: no background, which is the value 0; give it a row, or say --background COLOUR")
    if not colours.classes:
        raise ImageError(f"{palette}: a background and no class; give each class a row, with its name and colour")
    adapt_bundle(find_bundle(bundle), output_dir, colours.classes, background=ground[0])
    typer.echo(f"next: medseg train {shlex.quote(str(output_dir))} --dataset_dir DATASET", err=True)
