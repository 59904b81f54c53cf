"""A palette: which colour stands for which label value, as a table in a file."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.colours import distinct_colours
from medseg.errors import ImageError, reason
from medseg.files import write_text
from medseg.types import Colour, LabelClass

_HEX = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_EXPECTED = "expected a first line such as 'name,r,g,b' or 'value,name,colour' (colour as #rrggbb)"


@dataclass(frozen=True)
class PaletteEntry:
    """A label value, its name and its colour (sRGB, 0-255)."""

    value: int
    name: str
    colour: Colour


@dataclass(frozen=True)
class Palette:
    """The colours of a colour-coded label. No value and no colour occurs twice.

    Raises:
        ValueError: if one does, or there is none.
    """

    entries: tuple[PaletteEntry, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise ValueError("a palette without colours")
        for kind in ("value", "colour"):
            counts = Counter(getattr(each, kind) for each in self.entries)
            twice = [str(each) for each, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]} stands for two classes")

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The foreground: every value but 0."""
        return tuple(LabelClass(each.value, each.name, each.colour) for each in self.entries if each.value != 0)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], *, background: str | None = None) -> Palette:
        """Read a table with a header: `name`, and `r`, `g`, `b` or `colour` (`#rrggbb`), perhaps `value`.

        Without `value` the rows are 0, 1, 2, ...; the first must then be the background: black, or so named.
        Commas, semicolons and tabs separate; lines that start with `# ` are comments.

        Args:
            path: of the table.
            background: which row is the background, whatever its place and colour: its name, or its colour as
                `#rrggbb` or `r,g,b`; a colour that no row has is added. Its value is 0, and without a column
                `value` the other rows are 1, 2, ...

        Raises:
            ImageError: naming the line that is wrong, or a background that is neither a row nor a colour.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ImageError(f"{path}: no palette that can be read ({reason(error)}); {_EXPECTED}") from error
        entries = tuple(_entries(text, path, background))
        try:
            return cls(entries)
        except ValueError as error:
            raise ImageError(f"{path}: {error}; {_EXPECTED} and one line for each class") from error

    @classmethod
    def from_classes(cls, classes: Sequence[LabelClass]) -> Palette:
        """The colours of these classes and distinct ones for those without; 0 is black."""
        free = distinct_colours(each.value for each in classes)
        known = [PaletteEntry(each.value, each.name, each.colour or free[each.value]) for each in classes]
        background = [] if any(each.value == 0 for each in classes) else [PaletteEntry(0, "background", (0, 0, 0))]
        return cls((*background, *known))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `value,name,r,g,b`.

        Raises:
            OutputError: if the file cannot be written.
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("value", "name", "r", "g", "b"))
        writer.writerows((each.value, each.name, *each.colour) for each in self.entries)
        write_text(path, stream.getvalue())


def _entries(text: str, path: Path, background: str | None) -> list[PaletteEntry]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("# ")]
    if not lines:
        raise ImageError(f"{path}: an empty palette; {_EXPECTED}")
    separator = max(",;\t", key=lines[0][1].count)
    header = [name.strip().lower() for name in lines[0][1].split(separator)]
    columns = {name: n for n, name in enumerate(header)}
    aliases = {"red": "r", "green": "g", "blue": "b", "color": "colour", "hex": "colour"}
    columns = {aliases.get(name, name): n for name, n in columns.items()}
    if "name" not in columns or not ({"r", "g", "b"} <= columns.keys() or "colour" in columns):
        raise ImageError(f"{path}: line {lines[0][0]}: no columns of a palette; {_EXPECTED}")
    entries = []
    for row, (number, line) in enumerate(lines[1:]):
        cells = next(csv.reader([line], delimiter=separator))
        entries.append(_entry(columns, [cell.strip() for cell in cells], row, f"{path}: line {number}"))
    first = entries[0] if entries and "value" not in columns else None
    if background is not None:
        return _with_background(entries, background, path, numbered="value" in columns)
    if first is not None and first.colour != (0, 0, 0) and first.name.lower() != "background":
        raise ImageError(
            f"{path}: line {lines[1][0]}: '{first.name}' would be the background, value 0; put that first, "
            "or add a column 'value'"
        )
    return entries


def _with_background(
    entries: Sequence[PaletteEntry], background: str, path: Path, *, numbered: bool
) -> list[PaletteEntry]:
    """The entries with the one that `background` names or shows as value 0, first."""
    colour = _colour(background)
    mine = [each for each in entries if background.casefold() == each.name.casefold() or each.colour == colour]
    if not mine and colour is None:
        names = ", ".join(each.name for each in entries)
        raise ImageError(
            f"{path}: background '{background}': no name in it ({names}) and no colour; write #rrggbb or r,g,b"
        )
    first = replace(mine[0], value=0) if mine else PaletteEntry(0, "background", colour or (0, 0, 0))
    others = [each for each in entries if each not in mine[:1]]
    return [first, *(others if numbered else (replace(each, value=n) for n, each in enumerate(others, 1)))]


def _colour(text: str) -> Colour | None:
    """The colour that `#rrggbb` or `r,g,b` stands for; None for other text."""
    if found := _HEX.fullmatch(text.strip()):
        red, green, blue = (int(part, 16) for part in found.groups())
        return red, green, blue
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(part.isdecimal() and int(part) <= 255 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    return None


def _entry(columns: dict[str, int], cells: list[str], row: int, place: str) -> PaletteEntry:
    try:
        value = int(cells[columns["value"]]) if "value" in columns else row
        name = cells[columns["name"]]
        if "colour" in columns:
            parts = list(_colour(cells[columns["colour"]]) or ())
        else:
            parts = [int(cells[columns[part]]) for part in "rgb"]
    except (IndexError, ValueError) as error:
        raise ImageError(f"{place}: too few columns, or no number where one should be; {_EXPECTED}") from error
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts) or not 0 <= value <= 65535:
        raise ImageError(f"{place}: no colour from 0 to 255 and value from 0 to 65535; {_EXPECTED}")
    return PaletteEntry(value, name, (parts[0], parts[1], parts[2]))
