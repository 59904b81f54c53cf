"""A bundle as one file to hand on."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from medseg.bundle.check import load_config
from medseg.bundle.metadata import label_classes
from medseg.errors import BundleError
from medseg.files import replacing

_PARTS = ("configs", "docs", "models")
_REQUIRED = (
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/logging.conf",
    "docs/README.md",
    "LICENSE",
)
_WEIGHTS = "models/model.pt"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one bundle, one file: no time stamps


def pack(bundle: Path, output: Path, *, checkpoint: Path | None = None) -> list[str]:
    """Write a bundle to the zip file `output` under its own name; unpacked, it runs with medseg installed.

    Args:
        bundle: its folder.
        output: replaced if it exists.
        checkpoint: weights to ship as `models/model.pt` instead of the bundle's own.

    Returns:
        The names in the zip file.

    Raises:
        BundleError: if a part is missing, naming it, or there are no weights.
        OutputError: if `output` cannot be written.
    """
    files = dict(_files(bundle))
    if checkpoint is not None:
        files[_WEIGHTS] = checkpoint
    for name in (*_REQUIRED, _WEIGHTS):
        if name not in files or not files[name].is_file():
            hint = "; train it and give --checkpoint OUTPUT_DIR/models/model.pt" if name == _WEIGHTS else ""
            raise BundleError(f"{files.get(name, bundle / name)}: missing, a packed bundle needs it{hint}")
    metadata = load_config(files["configs/metadata.json"])
    label_classes(metadata)
    top = str(metadata.get("name", bundle.resolve().name))
    with replacing(output) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{top}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
        return archive.namelist()


def _files(bundle: Path) -> Iterator[tuple[str, Path]]:
    for part in _PARTS:
        for path in sorted((bundle / part).rglob("*")):
            relative = path.relative_to(bundle)
            if path.is_file() and not any(each.startswith((".", "__pycache__")) for each in relative.parts):
                yield relative.as_posix(), path
    yield "LICENSE", bundle / "LICENSE"
