"""`medseg pack`: a bundle as one file to hand on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from medseg.bundle.run import find_bundle


def pack(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip file to write.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Weights to ship instead of the bundle's models/model.pt."),
    ] = None,
) -> None:
    """Write a bundle to a zip file that, unpacked, runs wherever medseg is installed.

    Example: medseg pack hippocampus_mri_3d --checkpoint runs/hippo/models/model.pt -o hippo.zip
    """
    from medseg.bundle.pack import pack as pack_bundle

    names = pack_bundle(find_bundle(bundle), output, checkpoint=checkpoint)
    typer.echo(f"{output}: {len(names)} files, {output.stat().st_size / 2**20:.1f} MiB")
    folder = Path(names[0]).parts[0]
    typer.echo(
        f"next, where it is to run: unzip {shlex.quote(str(output))} && medseg predict {folder} --input SCAN", err=True
    )
