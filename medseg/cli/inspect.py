"""`medseg inspect`: what is in a file or folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from medseg.images import Image
    from medseg.images.describe import Content, Description, LabelVolume
    from medseg.images.dicom import SeriesInfo


def inspect(
    path: Annotated[str, typer.Argument(help="A file, a folder, or FOLDER::SERIES for one of several DICOM series.")],
    image: Annotated[
        str | None, typer.Option("--image", help="The image that a label belongs to: it is drawn on that grid.")
    ] = None,
    preview: Annotated[Path | None, typer.Option("--preview", help="Write a PNG of the three planes here.")] = None,
    palette: Annotated[
        Path | None, typer.Option("--palette", help="Find the colours of colour-coded labels; write them as CSV here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Say what is in a file or folder: geometry, values, labels and their volumes, what is odd.

    Example: medseg inspect scan.nii.gz --preview scan.png
    """
    from medseg.images import read_geometry, read_image, read_label
    from medseg.images.describe import contents_of, describe, is_folder_of_images, series_at, structures_at

    if palette is not None:
        _tell(as_json, *_palette(path, palette))
    elif image is not None:
        label = read_label(path, grid=read_geometry(image))
        _tell(as_json, *_description(describe(label)))
        if preview is not None:
            _write_preview(read_image(image), preview, label)
    elif structures := structures_at(path):
        _tell(as_json, {"structures": structures}, _structures_table(structures))
    elif series := series_at(path):
        _tell(as_json, {"series": [_series_facts(each) for each in series]}, _series_table(series))
    elif is_folder_of_images(path):
        contents = contents_of(path)
        _tell(as_json, {"images": [asdict(each) for each in contents]}, _contents_table(contents))
    else:
        found = read_image(path)
        _tell(as_json, *_description(describe(found)))
        if preview is not None:
            _write_preview(found, preview)
        return
    if preview is not None and image is None:
        sys.stderr.write(f"medseg: no preview: {path} is no single image; name one\n")


def _tell(as_json: bool, facts: Mapping[str, Any], table: Table) -> None:
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        Console(highlight=False).print(table)


def _palette(path: str, target: Path) -> tuple[dict[str, Any], Table]:
    from medseg.errors import OutputError
    from medseg.images import find_images, read_image
    from medseg.images.palette import discover_palette

    if target.exists():  # class names that somebody gave
        raise OutputError(f"{target}: is there already, and is not replaced; give --palette the name of a new file")
    found = discover_palette(read_image(each.path) for each in find_images(path))
    found.to_csv(target)
    table = Table(title=f"{len(found.entries)} colours, written to {target}", title_justify="left")
    for column in ("value", "name", "red, green, blue"):
        table.add_column(column)
    for each in found.entries:
        table.add_row(str(each.value), each.name, ", ".join(map(str, each.colour)))
    return {"palette": [asdict(each) for each in found.entries]}, table


def _series_facts(info: SeriesInfo) -> dict[str, Any]:
    return {
        "number": info.number,
        "uid": info.uid,
        "description": info.description,
        "modality": info.modality,
        "size": info.size,
        "spacing_mm": info.spacing,
        "files": len(info.files),
        "kind": info.kind,
    }


def _series_table(series: list[SeriesInfo]) -> Table:
    table = Table(title=f"{len(series)} DICOM series; read one as PATH::NUMBER", title_justify="left")
    for column in ("#", "modality", "description", "size", "spacing mm", "kind"):
        table.add_column(column)
    for each in series:
        size = _joined(each.size) if each.size else f"{len(each.files)} files"
        spacing = _joined(each.spacing) if each.spacing else ""
        table.add_row(str(each.number), each.modality or "", each.description or "", size, spacing, each.kind)
    return table


def _structures_table(structures: Mapping[str, int]) -> Table:
    table = Table(title="RT structure set; name its images with --image to see volumes", title_justify="left")
    table.add_column("structure")
    table.add_column("closed contours", justify="right")
    for name, contours in structures.items():
        table.add_row(name, str(contours))
    return table


def _contents_table(contents: list[Content]) -> Table:
    table = Table(title=f"{len(contents)} images", title_justify="left")
    for column in ("name", "size", "spacing mm", "what is wrong"):
        table.add_column(column)
    for each in contents:
        size, spacing = (_joined(values) if values else "" for values in (each.shape, each.spacing_mm))
        table.add_row(each.name, size, spacing, each.problem or "")
    return table


def _description(facts: Description) -> tuple[dict[str, Any], Table]:
    table = Table.grid(padding=(0, 2, 0, 0))
    channels = f", {facts.channels} channels" if facts.channels else ""
    modality = facts.modality if facts.modality and not facts.format.endswith(facts.modality) else ""
    table.add_row("format", f"{facts.format} {modality}".strip())
    table.add_row(
        "size", f"{_joined(facts.shape)} {'voxels' if len(facts.shape) == 3 else 'pixels'}{channels}, {facts.dtype}"
    )
    if facts.spacing_mm:
        extent = [length * count for length, count in zip(facts.spacing_mm, facts.shape, strict=True)]
        table.add_row("spacing", f"{_joined(facts.spacing_mm)} mm")
        table.add_row("extent", f"{_joined(extent)} mm")
    if len(facts.shape) == 3:
        origin = ", ".join(f"{row[3]:.4g}" for row in facts.affine[:3])
        table.add_row("axes", f"{facts.orientation}, first voxel at {origin} mm (RAS+)")
    low, high = facts.value_range
    table.add_row("values", f"{low:g} to {high:g}, 98 % from {facts.percentiles[0]:g} to {facts.percentiles[1]:g}")
    for label in facts.labels:
        name = f"{label.value} {label.name}" if label.name else str(label.value)
        table.add_row("label", f"{name}: {_amount(label)}")
    for warning in facts.warnings:
        table.add_row("warning", warning)
    return facts.as_dict(), table


def _amount(label: LabelVolume) -> str:
    if label.volume_ml is None:
        return f"{label.voxels} pixels"
    return f"{label.volume_ml:.3f} mL, {label.voxels} voxels"


def _write_preview(image: Image, path: Path, label: Image | None = None) -> None:
    """Three planes of an image with the contours of its label; of a label map alone with its own."""
    from medseg.colours import distinct_colours
    from medseg.images.describe import describe
    from medseg.images.show import as_label_map, brightness
    from medseg.pictures import Panel, contact_sheet, save

    labels = describe(label or image).labels
    names = {each.value: each.name or str(each.value) for each in labels}
    colours = distinct_colours(names) | {each.value: each.colour for each in (label or image).classes if each.colour}
    drawn = as_label_map(label or image) if labels else None
    panel = Panel(image.path.name, brightness(image), image.geometry.affine, label=drawn)
    save(contact_sheet([panel], colours=colours, class_names=names), path)


def _joined(values: Any) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
