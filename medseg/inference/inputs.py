"""What a user names as input, as the entries of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medseg.errors import ImageError
from medseg.images import are_channels, find_images, group_channels

Entry = dict[str, str | list[str]]


def find_inputs(path: str | None, *, metadata: Mapping[str, Any]) -> list[Entry]:
    """The entries `{"image": path, "case": name}` of every scan at `path`; see `images.find_images`.

    Where the bundle takes several channels, or every file is named `CASE_0000`, nnU-Net's naming holds:
    `CASE_0000`, `CASE_0001`, ... are the channels of `CASE`, and "image" is the list of their paths.

    Args:
        path: a file or folder; None is an error that tells how to give it.
        metadata: of the bundle, for the number of channels.

    Raises:
        ImageError: if nothing was given, nothing that can be read is there, or a channel is missing.
    """
    if path is None:
        raise ImageError("no input given: use --input with an image file, a DICOM series folder, or a folder of either")
    found = {each.name: each.path for each in find_images(path)}
    channels = metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    if not are_channels(list(found)) or (channels == 1 and not all(name.endswith("_0000") for name in found)):
        return [{"image": image, "case": name} for name, image in found.items()]
    grouped = group_channels(found)
    return [{"image": list(paths) if len(paths) > 1 else paths[0], "case": name} for name, paths in grouped.items()]
