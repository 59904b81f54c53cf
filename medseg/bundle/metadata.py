"""What a bundle's `metadata.json` says of its classes and its input: the only place where that stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.errors import BundleError
from medseg.types import CodedTerm, Colour, LabelClass


def check_metadata(path: Path) -> None:
    """Read a bundle's `metadata.json` for what every command needs of it.

    Raises:
        BundleError: if it is no JSON, or has no name, classes or format of the input image.
    """
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        image = metadata["network_data_format"]["inputs"]["image"]
        missing = [key for key in ("num_channels", "channel_def", "spatial_shape") if key not in image]
        missing += [key for key in ("name", "version") if key not in metadata]
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: no JSON that can be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: has no 'network_data_format::inputs::image'; MONAI's init_bundle leaves it out"
        ) from error
    if missing:
        raise BundleError(f"{path}: no '{missing[0]}', which every bundle has")
    try:
        label_classes(metadata)
    except BundleError as error:
        raise BundleError(f"{path.parent / str(error)}") from error


def label_classes(metadata: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """The foreground classes in the order of their label values.

    Names come from MONAI's `network_data_format::outputs::pred::channel_def` (0 is the background),
    colours and coded terms from `classes`, which is keyed by name.

    Raises:
        BundleError: if names and `classes` do not match, naming the key.
    """
    try:
        names = {int(v): str(n) for v, n in metadata["network_data_format"]["outputs"]["pred"]["channel_def"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            "metadata.json: 'network_data_format::outputs::pred::channel_def' does not name the classes, such as "
            '{"0": "background", "1": "spleen"}'
        ) from error
    details = metadata.get("classes")
    if not isinstance(details, Mapping):
        raise BundleError(
            "metadata.json: no 'classes', which MONAI's own bundles lack; add the classes and their colours, such as "
            '"classes": {"spleen": {"colour": [230, 25, 75]}}'
        )
    foreground = {value: name for value, name in sorted(names.items()) if value > 0}
    if set(foreground.values()) != set(details):
        raise BundleError(
            f"metadata.json: 'classes' names {sorted(details)}, 'channel_def' names {sorted(foreground.values())}; "
            "give every foreground class the same name in both"
        )
    return tuple(_label_class(value, name, details[name]) for value, name in foreground.items())


def _label_class(value: int, name: str, detail: Mapping[str, Any]) -> LabelClass:
    try:
        red, green, blue = bytes(list(detail["colour"]))  # no "#e6194b": MONAI turns every # into ::
        code = CodedTerm(**detail["code"]) if "code" in detail else None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(
            f"metadata.json: class '{name}': {error}; expected a 'colour' such as [230, 25, 75] "
            "and, where given, a 'code' of value, scheme and meaning"
        ) from error
    return LabelClass(value, name, (red, green, blue), code)


def painted_classes(metadata: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """The classes in the colours in which labels are painted.

    Where `background_colour` gives the background one, it comes first, as value 0; else it is black.

    Raises:
        BundleError: as `label_classes`, and for a colour that is none.
    """
    given = metadata.get("background_colour")
    background = () if given is None else (_label_class(0, "background", {"colour": given}),)
    return (*background, *label_classes(metadata))


def image_format(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the metadata say of the image that the network takes."""
    found: Mapping[str, Any] = metadata["network_data_format"]["inputs"]["image"]
    return found


def image_dims(metadata: Mapping[str, Any], inferer: Any = None) -> int | None:
    """2 where a bundle takes pictures, 3 where it takes volumes; None where the metadata do not tell.

    An inferer that cuts slices takes volumes for a network of pictures.
    """
    if getattr(inferer, "cuts_slices", False):
        return 3
    shape = image_format(metadata).get("spatial_shape")
    return None if shape is None else len(shape)


def class_names(metadata: Mapping[str, Any]) -> dict[int, str]:
    """Label value -> class name, without the background."""
    return {each.value: each.name for each in label_classes(metadata)}


def class_colours(metadata: Mapping[str, Any]) -> dict[int, Colour]:
    """Label value -> display colour (sRGB, 0-255), without the background."""
    return {each.value: each.colour for each in label_classes(metadata) if each.colour}


def label_regions(metadata: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Region name -> the label values of the classes that make it up, from `regions` (may be absent).

    Raises:
        BundleError: if a region is no list of classes, names an unknown one, or has a class's name.
    """
    values = {name: value for value, name in class_names(metadata).items()}
    regions = {}
    for region, members in metadata.get("regions", {}).items():
        if not isinstance(members, list) or not members:
            raise BundleError(
                f"metadata.json: region '{region}': expected a list of classes; classes are {sorted(values)}"
            )
        unknown = sorted(set(members) - values.keys())
        if unknown or region in values:
            what = f"no class '{unknown[0]}'" if unknown else "a class of that name"
            raise BundleError(f"metadata.json: region '{region}': there is {what}; classes are {sorted(values)}")
        regions[region] = tuple(values[member] for member in members)
    return regions
