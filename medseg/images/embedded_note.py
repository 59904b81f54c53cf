"""What medseg writes into a file whose format has no field for it: class names and, in pictures, the grid."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medseg.images.geometry import Geometry
from medseg.types import CodedTerm, LabelClass

_CARET_LABEL = re.compile(r'<Label Key="(\d+)"([^>]*)>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL)
_CARET_COLOUR = re.compile(r'(Red|Green|Blue)="([0-9.]+)"')


@dataclass(frozen=True)
class Note:
    """A JSON text inside a file.

    Attributes:
        classes: of a label map.
        grid: where its voxels lie, for formats that know no world.
        is_label: whether the values are label values.
    """

    classes: tuple[LabelClass, ...] = ()
    grid: Geometry | None = None
    is_label: bool = False

    def to_text(self) -> str:
        """As ASCII on one line."""
        fields: dict[str, Any] = {"is_label": self.is_label, "classes": [asdict(each) for each in self.classes]}
        if self.grid is not None:
            fields["grid"] = {"shape": self.grid.shape, "affine_ras_mm": self.grid.affine.tolist()}
        return json.dumps({"medseg": fields})


def note_from(text: str | bytes) -> Note | None:
    """The note in a text that came out of a file; None for every other text."""
    try:
        fields = json.loads(text)["medseg"]
        grid = fields.get("grid")
        return Note(
            classes=tuple(_class(each) for each in fields["classes"]),
            grid=Geometry(tuple(grid["shape"]), grid["affine_ras_mm"]) if grid else None,
            is_label=bool(fields["is_label"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def caret_note_from(text: str) -> Note | None:
    """The label table that Connectome Workbench and TotalSegmentator write into NIfTI files (XML); None if none."""
    classes = []
    for key, attributes, quoted, plain in _CARET_LABEL.findall(text):
        parts = {name: round(min(float(value), 1) * 255) for name, value in _CARET_COLOUR.findall(attributes)}
        colour = (parts["Red"], parts["Green"], parts["Blue"]) if len(parts) == 3 else None
        if int(key) > 0:
            classes.append(LabelClass(int(key), (quoted or plain).strip(), colour))
    return Note(classes=tuple(classes), is_label=True) if classes else None


def label_note(classes: Sequence[LabelClass], grid: Geometry | None = None) -> Note:
    """The note of a label map."""
    return Note(classes=tuple(classes), grid=grid, is_label=True)


def _class(fields: dict[str, Any]) -> LabelClass:
    colour, code = fields.get("colour"), fields.get("code")
    return LabelClass(
        value=int(fields["value"]),
        name=str(fields["name"]),
        colour=(int(colour[0]), int(colour[1]), int(colour[2])) if colour else None,
        code=CodedTerm(str(code["value"]), str(code["scheme"]), str(code["meaning"])) if code else None,
    )
