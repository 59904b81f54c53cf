"""What a user names as input, as the entries of a dataset."""

from __future__ import annotations

from medseg.errors import ImageError
from medseg.images import find_images


def find_inputs(path: str | None) -> list[dict[str, str]]:
    """The entries `{"image": path, "case": name}` of every scan at `path`; see `images.find_images`.

    Raises:
        ImageError: if nothing was given, or nothing that can be read is there.
    """
    if path is None:
        raise ImageError("no input given: use --input with a NIfTI file, a DICOM series folder, or a folder of either")
    return [{"image": str(found.path), "case": found.name} for found in find_images(path)]
