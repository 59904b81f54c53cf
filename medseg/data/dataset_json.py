"""What the `dataset.json` of the Decathlon, or of nnU-Net, says of classes and channels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.errors import DatasetError, reason
from medseg.images import LabelCoding
from medseg.types import LabelClass


def check_named(dataset: Path, class_names: Mapping[int, str], coding: LabelCoding | None) -> None:
    """Hold the names in a dataset's `dataset.json`, if it has one, against a bundle's.

    Only a name that both know can be wrong: by another value. What the file says else is not looked at, and
    nothing of it where a coding takes values for others.

    Args:
        dataset: its folder.
        class_names: value -> name of the bundle's foreground.
        coding: how the bundle reads labels; None for whole numbers as they stand.

    Raises:
        DatasetError: naming the class, its value there and its value here.
    """
    if coding is not None and (coding.kind != "values" or coding.take is not None):
        return
    here = {name.casefold(): value for value, name in class_names.items()}
    for name, value in _labels(dataset / "dataset.json").items():
        expected = here.get(name.casefold(), value)
        if expected != value:
            raise DatasetError(
                f"{dataset / 'dataset.json'}: '{name}' is {value} there and {expected} in this bundle; take values by "
                f"--label_reader::coding '{{take: {{{value}: {expected}}}}}', with all classes"
            )


def classes_and_channels(path: Path) -> tuple[list[LabelClass], list[str]]:
    """The foreground in the order of its values, and the channels' names.

    Raises:
        DatasetError: if the file tells no classes, regions of several values or one to ignore, or no channels.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        channels = found.get("channel_names") or found.get("modality")
        names = [str(channels[key]) for key in sorted(channels, key=int)]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DatasetError(
            f"{path}: no dataset.json that can be read ({reason(error)}); give --classes NAMES"
        ) from error
    labels = _values(found.get("labels"))
    foreground = {value: name for name, value in labels.items() if value}
    if not foreground or len(labels) < len(found.get("labels") or ()) or "ignore" in labels:
        raise DatasetError(
            f"{path}: its labels {found.get('labels')} are not a value for each class; labels to ignore and regions of "
            "several values are not taken: give --classes NAMES"
        )
    return [LabelClass(value, name) for value, name in sorted(foreground.items())], names


def _labels(path: Path) -> dict[str, int]:
    """Of a `dataset.json`; none where it cannot be read."""
    try:
        return _values(json.loads(path.read_text(encoding="utf-8"))["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _values(labels: Any) -> dict[str, int]:
    """Name -> value, whichever of them is the key; regions, which are lists, are left out."""
    if not isinstance(labels, Mapping):
        return {}
    pairs = [(key, value) if not str(key).isdecimal() else (value, key) for key, value in labels.items()]
    return {str(name): int(value) for name, value in pairs if str(value).isdecimal()}
