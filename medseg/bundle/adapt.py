"""A bundle for other classes: the same recipe under a name of its own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.colours import distinct_colours
from medseg.errors import BundleError, OutputError
from medseg.files import write_text
from medseg.types import Colour, LabelClass

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_REGION_LOSS = "RegionDiceCELoss"
_OWN_VALUES = "coding: {take:"
_STEPS = re.compile(r"^postprocessing_steps:.*$", re.MULTILINE)  # name the old classes
_NO_STEPS = "postprocessing_steps: [] # of the label map; kinds: medseg/inference/postprocessing/steps.py"
_OUTPUT_DIR = re.compile(r"^output_dir:.*$", re.MULTILINE)
_OLD_CODING = re.compile(r"^label_reader:.*\bcoding:.*$", re.MULTILINE)
_NAMED_CODING = re.compile(r"^label_reader:.*\bcoding: \{.*$", re.MULTILINE)
_LABEL_READER = "label_reader: {_target_: medseg.images.reader.LabelReader, coding: "
_IN_COLOURS = "classes, classes: $medseg.bundle.painted_classes(@_meta_)} # the colours of metadata.json"
_ABOUT = re.compile(r"\A# .*$", re.MULTILINE)


def adapt(
    bundle: Path,
    target: Path,
    classes: Sequence[LabelClass],
    *,
    background: Colour = _BLACK,
    channels: Sequence[str] | None = None,
) -> None:
    """Copy a bundle's configs to `target`, with other classes in its metadata; without weights.

    Its trainings go to `runs/NAME`, apart from those of `bundle`. Where that reads labels as masks or colours, the new
    one's labels have the colours of `classes`, or where these have none their values.

    Args:
        bundle: its folder.
        target: the new bundle's; its name is the bundle's.
        classes: the foreground.
        background: the colour of all else in labels painted in colours.
        channels: the names of the image's; None for those of `bundle`.

    Raises:
        BundleError: if `target` has no name that a bundle can have, values are not 1, 2, 3, ..., a name
            occurs twice, or the bundle's loss is of regions.
        OutputError: if `target` is there already or cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9_]+", target.name):
        raise BundleError(f"{target}: a bundle's folder is named in small letters, digits and _")
    if not classes or [each.value for each in classes] != list(range(1, len(classes) + 1)):
        raise BundleError(
            f"classes have the values {[each.value for each in classes]}: expected 1, 2, 3, ... in this order; "
            "renumber them"
        )
    names = [each.name for each in classes]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BundleError(f"two classes are named '{twice[0]}': rename one of them")
    if target.exists():
        raise OutputError(f"{target} is there already: delete it or choose another folder")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    origin = metadata["name"]
    recipe = (bundle / "configs" / "train.yaml").read_text(encoding="utf-8")
    if _REGION_LOSS in recipe:
        raise BundleError(f"{bundle}: its loss is of regions of its own classes; adapt another bundle")
    adapted = _adapted(metadata, target.name, classes)
    if channels is not None:
        image = adapted["network_data_format"]["inputs"]["image"]
        image["num_channels"] = len(channels)
        image["channel_def"] = {str(index): name for index, name in enumerate(channels)}
        adapted["image_classes"] = ", ".join(channels)
    adapted.pop("background_colour", None)
    if background != _BLACK:
        adapted["background_colour"] = list(background)
    try:
        shutil.copytree(bundle / "configs", target / "configs")
        if (bundle / "LICENSE").is_file():
            shutil.copy(bundle / "LICENSE", target / "LICENSE")
        (target / "docs").mkdir()
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    for layer in (target / "configs").glob("*.yaml"):
        if _OWN_VALUES in layer.read_text(encoding="utf-8"):  # of datasets that number the old classes otherwise
            layer.unlink()
        else:
            write_text(layer, _STEPS.sub(_NO_STEPS, layer.read_text(encoding="utf-8")))
    for old, new in (
        (_ABOUT, f"# {adapted['task']}: the recipe of {origin}."),
        (_STEPS, _NO_STEPS),
        (_OUTPUT_DIR, f"output_dir: runs/{target.name}"),
        *_codings(classes, background),
    ):
        recipe = old.sub(new.replace("\\", r"\\"), recipe)
    write_text(target / "configs" / "train.yaml", recipe)
    write_text(target / "configs" / "metadata.json", json.dumps(adapted, indent=2, ensure_ascii=False) + "\n")
    listed = "\n".join(f"- {each.value}: {each.name}" for each in classes)
    write_text(target / "docs" / "README.md", f"# {target.name}\n\nAdapted from {origin}. Classes:\n\n{listed}\n")


def _codings(classes: Sequence[LabelClass], background: Colour) -> Iterator[tuple[re.Pattern[str], str]]:
    """How labels of `classes` are read instead: in their colours, or as values where these have none."""
    colours = [each.colour for each in classes]
    if all(colours):
        masks: dict[tuple[Colour | None, ...], str] = {(_BLACK, _WHITE): "white}", (_WHITE, _BLACK): "black}"}
        yield _OLD_CODING, _LABEL_READER + masks.get((background, *colours), _IN_COLOURS)
    else:  # one class may still be a mask
        yield _NAMED_CODING if len(colours) == 1 else _OLD_CODING, f"{_LABEL_READER}values}}"


def _adapted(metadata: dict[str, Any], name: str, classes: Sequence[LabelClass]) -> dict[str, Any]:
    free = distinct_colours(each.value for each in classes)
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    outputs["num_channels"] = len(classes) + 1
    outputs["channel_def"] = {"0": "background"} | {str(each.value): each.name for each in classes}
    names = ", ".join(each.name for each in classes)
    for of_the_old in ("regions", "references"):
        metadata.pop(of_the_old, None)
    return metadata | {
        "name": name,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"adapted from {metadata['name']} {metadata['version']}"},
        "task": f"Segmentation of {names}",
        "description": f"The recipe of {metadata['name']} for {names}",
        "data_source": "",
        "label_classes": ", ".join(f"{value} {each}" for value, each in outputs["channel_def"].items()),
        "classes": {each.name: {"colour": list(each.colour or free[each.value])} for each in classes},
    }
