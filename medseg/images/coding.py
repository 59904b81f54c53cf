"""How the files of labels tell the classes: by values, as black and white masks, or in colours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ConfigError, ImageError
from medseg.images.image import Image
from medseg.images.palette import JPEG_TOLERANCE, MASK_TOLERANCE, check_opaque, labels_from_picture, mask_labels
from medseg.images.palette_table import Palette, PaletteEntry
from medseg.images.values import whole_numbers
from medseg.types import LabelClass

_EXPECTED = (
    "expected 'values', 'white', 'black', 'names', 'classes', or a colour for each class such as "
    "{background: 0, nucleus: 255}"
)


@dataclass(frozen=True)
class LabelCoding:
    """From what a label file holds to class values, once for a dataset.

    Attributes:
        kind: `values` are class values as they stand; `white` and `black` say which colour of a mask is class
            1; `colours` are looked up in `palette`; of `names`, each file of a label is the mask of the class that it
            is named after, such as `liver.nii.gz`.
        palette: of the kind `colours`.
        values: of the kind `names`: a class's name, in small letters -> its value; files of other names are left out.
        take: of the kind `values`: value in the file -> class value, everything else being background; None to
            take values as they stand.
        tolerance: how far (0 to 441 in RGB) an area may lie beside its colour, in masks at least 96; pixels of
            blended edges and stray values take the nearest colour whatever it is.
    """

    kind: str = "values"
    palette: Palette | None = None
    values: Mapping[str, int] | None = None
    take: Mapping[int, int] | None = None
    tolerance: float = JPEG_TOLERANCE

    @classmethod
    def of(
        cls, given: str | Mapping[str, Any], *, classes: Sequence[LabelClass] = (), tolerance: float = JPEG_TOLERANCE
    ) -> LabelCoding:
        """The coding that a config tells.

        Args:
            given: `values`, `white`, `black`, `names` (of `classes`), `classes` (the colours of `classes`),
                `{take: {5: 1}}` to make class 1 of a file's value 5 and background of all others, or name ->
                grey value or `[red, green, blue]`, in the order of the class values 0, 1, 2, ...
            classes: of the bundle; the background is black unless it is among them, as value 0.
            tolerance: see above.

        Raises:
            ConfigError: for anything else, or a colour that stands for two classes.
        """
        try:
            if given in ("values", "white", "black"):
                return cls(str(given), tolerance=tolerance)
            if given == "names":
                return cls("names", values={each.name.casefold(): each.value for each in classes})
            if given == "classes":
                return cls("colours", Palette.from_classes(classes), tolerance=tolerance)
            if isinstance(given, Mapping) and set(given) == {"take"}:
                return cls(take=_take(given["take"]))
            if isinstance(given, Mapping):
                return cls("colours", _palette(given), tolerance=tolerance)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"label coding: {error}; {_EXPECTED}") from error
        raise ConfigError(f"label coding {given!r}: {_EXPECTED}")

    def parts(self, paths: Sequence[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
        """Which of a label's files tell of a class, later ones going before earlier ones where they overlap.

        Raises:
            ImageError: if none does.
        """
        if self.values is None:
            return list(paths)
        mine = sorted((value, str(path), path) for path in paths if (value := self._value(path)))
        if not mine:
            names = ", ".join(self.values)
            raise ImageError(f"{paths[0]}: neither it nor a file beside it is named after a class ({names})")
        return [path for _, _, path in mine]

    def _value(self, path: str | os.PathLike[str]) -> int:
        return (self.values or {}).get(Path(path).name.partition(".")[0].casefold(), 0)

    def decode(self, image: Image) -> Image:
        """The label map `(i, j, k)` that a file shows.

        Raises:
            ImageError: naming the file and what in it is no label of this coding.
        """
        if self.values is not None:
            mask = (whole_numbers(image.array, image.path) != 0).astype(np.uint8)
            return replace(image, array=mask * np.uint8(self._value(image.path)), classes=())
        if self.kind == "values":
            check_opaque(image)
            values = whole_numbers(image.array, image.path)
            if self.take is None:
                return replace(image, array=values)
            return replace(image, array=_taken(values, self.take), classes=())  # which are named by other values
        if image.array.dtype.kind not in "iu":
            raise ImageError(
                f"{image.path}: {image.array.dtype} voxels; a label in colours has whole numbers up to 255"
            )
        if self.kind == "colours" and self.palette is not None:
            decoded = labels_from_picture(image, palette=self.palette, tolerance=self.tolerance)
        else:
            inverted = self.kind == "black"
            tolerance = max(self.tolerance, MASK_TOLERANCE)
            decoded = mask_labels(image, foreground="black" if inverted else "white", tolerance=tolerance)
        return replace(decoded, classes=())  # the bundle names them


def _taken(values: NDArray[Any], take: Mapping[int, int]) -> NDArray[np.uint8]:
    taken = np.zeros(values.shape, np.uint8)
    for value, to in take.items():
        taken[values == value] = to
    return taken


def _take(given: Any) -> dict[int, int]:
    take = {int(value): int(to) for value, to in dict(given).items()}
    if not all(0 <= to <= 255 for to in take.values()):
        raise ValueError(f"take {take}: classes are 0 to 255")
    return take


def _palette(colours: Mapping[str, Any]) -> Palette:
    entries = []
    for value, (name, colour) in enumerate(colours.items()):
        parts = bytes([colour] * 3 if isinstance(colour, int) else list(colour))
        if len(parts) != 3:
            raise ValueError(f"'{name}' has {len(parts)} colour parts")
        entries.append(PaletteEntry(value, str(name), (parts[0], parts[1], parts[2])))
    return Palette(tuple(entries))
