"""`medseg adapt`: a bundle for other classes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from medseg.bundle.adapt import adapt as adapt_bundle
from medseg.bundle.run import find_bundle
from medseg.data.dataset_json import classes_and_channels
from medseg.errors import ConfigError, ImageError
from medseg.images.palette_table import Palette
from medseg.types import Colour, LabelClass

_BLACK = (0, 0, 0)


def adapt(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")],
    output_dir: Annotated[Path, typer.Option("--output_dir", "-o", help="The new bundle's folder; its name too.")],
    palette: Annotated[
        Path | None, typer.Option("--palette", help="The classes and their colours: name,r,g,b; the background first.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Instead, the names of the label values 1, 2, ...: liver,tumour; or the dataset.json of nnU-Net or "
            "the Decathlon, which tells the channels too.",
        ),
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="The image's channels, if they are not the bundle's: T1,FLAIR.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option("--background", help="The palette's background, if not its first: a name, #rrggbb or r,g,b."),
    ] = None,
) -> None:
    """Make a bundle for other classes out of one: the same recipe, to be trained anew.

    Example: medseg adapt colour_masks_2d --palette palette.csv -o my_masks_2d

    Example: medseg adapt hippocampus_mri_3d --classes tumour,oedema --channels T1,T2,FLAIR -o my_tumours_3d
    """
    if (palette is None) == (classes is None):
        raise ConfigError("give either --palette FILE, of labels in colours, or --classes NAMES, of labels in values")
    ground, names = _BLACK, _names(channels)
    if palette is not None:
        found, ground = _painted(palette, background)
    elif Path(str(classes)).suffix == ".json":
        found, told = classes_and_channels(Path(str(classes)))
        names = names or told
    else:
        found = [LabelClass(value, name) for value, name in enumerate(_names(classes) or (), 1)]
    adapt_bundle(find_bundle(bundle), output_dir, found, background=ground, channels=names)
    typer.echo(f"next: medseg train {shlex.quote(str(output_dir))} --dataset_dir DATASET", err=True)


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [each.strip() for each in given.split(",") if each.strip()]


def _painted(palette: Path, background: str | None) -> tuple[Sequence[LabelClass], Colour]:
    colours = Palette.from_csv(palette, background=background)
    ground = [each.colour for each in colours.entries if each.value == 0]
    if not ground:
        raise ImageError(f"{palette}: no background, which is the value 0; give it a row, or say --background COLOUR")
    if not colours.classes:
        raise ImageError(f"{palette}: a background and no class; give each class a row, with its name and colour")
    return colours.classes, ground[0]
