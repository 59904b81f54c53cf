"""`medseg inspect`: what is in a file or folder."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from medseg.images import Image
    from medseg.images.describe import Content, Description
    from medseg.images.dicom import SeriesInfo


def inspect(
    path: Annotated[str, typer.Argument(help="A file, a folder, or FOLDER::SERIES for one of several DICOM series.")],
    preview: Annotated[Path | None, typer.Option("--preview", help="Write a PNG of the three planes here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Say what is in a file or folder: geometry, values, labels and their volumes, what is odd.

    Example: medseg inspect scan.nii.gz --preview scan.png
    """
    from medseg.images import read_image
    from medseg.images.describe import contents_of, describe, is_folder_of_images, series_at

    if is_folder_of_images(path):
        contents = contents_of(path)
        _tell(as_json, {"images": [asdict(each) for each in contents]}, _contents_table(contents))
    elif series := series_at(path):
        _tell(as_json, {"series": [_series_facts(each) for each in series]}, _series_table(series))
    else:
        image = read_image(path)
        description = describe(image)
        _tell(as_json, description.as_dict(), _description_table(description))
        if preview is not None:
            _write_preview(image, description, preview)
        return
    if preview is not None:
        sys.stderr.write(f"medseg: no preview: {path} holds several images; name one\n")


def _tell(as_json: bool, facts: dict[str, Any], table: Table) -> None:
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        Console(highlight=False).print(table)


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


def _contents_table(contents: list[Content]) -> Table:
    table = Table(title=f"{len(contents)} images", title_justify="left")
    for column in ("name", "size", "spacing mm", "what is wrong"):
        table.add_column(column)
    for each in contents:
        size, spacing = (_joined(each.shape), _joined(each.spacing_mm)) if each.shape and each.spacing_mm else ("", "")
        table.add_row(each.name, size, spacing, each.problem or "")
    return table


def _description_table(facts: Description) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    channels = f", {facts.channels} channels" if facts.channels else ""
    table.add_row("format", " ".join(filter(None, [facts.format, facts.modality])))
    table.add_row("size", f"{_joined(facts.shape)} voxels{channels}, {facts.dtype}")
    table.add_row("spacing", f"{_joined(facts.spacing_mm)} mm")
    extent = [length * count for length, count in zip(facts.spacing_mm, facts.shape, strict=True)]
    table.add_row("extent", f"{_joined(extent)} mm")
    if len(facts.shape) == 3:
        table.add_row(
            "axes", f"{facts.orientation}, first voxel at {_joined([row[3] for row in facts.affine[:3]])} mm (RAS+)"
        )
    low, high = facts.value_range
    table.add_row("values", f"{low:g} to {high:g}, 98 % from {facts.percentiles[0]:g} to {facts.percentiles[1]:g}")
    for label in facts.labels:
        name = f"{label.value} {label.name}" if label.name else str(label.value)
        table.add_row("label", f"{name}: {label.volume_ml:.3f} mL, {label.voxels} voxels")
    for warning in facts.warnings:
        table.add_row("warning", warning)
    return table


def _write_preview(image: Image, facts: Description, path: Path) -> None:
    from medseg.pictures import Panel, contact_sheet, save
    from medseg.pictures.colours import distinct_colours

    array = image.array if image.array.ndim == 3 else image.array.mean(axis=3)
    names = {label.value: label.name or str(label.value) for label in facts.labels}
    colours = distinct_colours(names) | {each.value: each.colour for each in image.classes if each.colour}
    pixels = array[:, :, 0] if image.spatial_dims == 2 else array
    panel = Panel(image.path.name, pixels, image.geometry.affine, label=pixels if names else None)
    save(contact_sheet([panel], colours=colours, class_names=names), path)


def _joined(values: Any) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
