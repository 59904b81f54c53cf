"""A bundle as one file to hand on."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from medseg.bundle.check import load_config
from medseg.bundle.metadata import label_classes
from medseg.bundle.trained import config_of_run, trained
from medseg.bundle.weights import load_weights
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
_OF_THE_WEIGHTS = ("models/decision.json", "models/fingerprint.json", "models/LICENSE")
_OF_THIS_MACHINE = re.compile(r"(^|_)(dir|path|file|folder|uri)$|^pretrained$")  # ids and keys
_A_PATH = re.compile(r"/|~|\\\\|file:|[A-Za-z]:[\\/]")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one bundle, one file: no time stamps


def pack(bundle: Path, output: Path, *, checkpoint: Path | None = None) -> list[str]:
    """Write a bundle to the zip file `output` under its own name; unpacked, it runs with medseg installed.

    Weights of a run bring along the decision that was tuned for them, the fingerprint of what they were trained
    on, a licence of their own, and the config that they were trained with (as `config.yaml`, which `trained` looks
    for), without what names places of this machine.

    Args:
        bundle: its folder.
        output: replaced if it exists.
        checkpoint: weights to ship as `models/model.pt` instead of the bundle's own.

    Returns:
        The names in the zip file.

    Raises:
        BundleError: if a part is missing, naming it, or the weights are none of the bundle's network.
        OutputError: if `output` cannot be written.
    """
    files = dict(_files(bundle))
    as_trained = None
    if checkpoint is not None:
        files[_WEIGHTS] = checkpoint
        for name in _OF_THE_WEIGHTS:
            files.pop(name, None)
            if (beside := checkpoint.with_name(Path(name).name)).is_file():
                files[name] = beside
        as_trained = _config_to_share(checkpoint)
    for name in (*_REQUIRED, _WEIGHTS):
        if name not in files or not files[name].is_file():
            hint = "; train it and give --checkpoint OUTPUT_DIR/models/model.pt" if name == _WEIGHTS else ""
            raise BundleError(f"{files.get(name, bundle / name)}: missing, a packed bundle needs it{hint}")
    load_weights(trained(str(bundle), str(files[_WEIGHTS])).network_def, files[_WEIGHTS])
    metadata = load_config(files["configs/metadata.json"])
    label_classes(metadata)
    top = str(metadata.get("name", bundle.resolve().name))
    with replacing(output) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            archive.writestr(_entry(f"{top}/{name}"), path.read_bytes())
        if as_trained is not None:
            archive.writestr(_entry(f"{top}/config.yaml"), as_trained)
        return archive.namelist()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _config_to_share(checkpoint: Path) -> str | None:
    path = config_of_run(checkpoint)
    if path is None:
        return None
    return yaml.safe_dump(_without_places(load_config(path)), sort_keys=False, allow_unicode=True)


def _without_places(value: Any, key: str = "") -> Any:
    """A config's value with null for the places in it: a folder's name may tell of a patient, and is not there."""
    if isinstance(value, dict):
        return {each: _without_places(inner, str(each)) for each, inner in value.items()}
    if isinstance(value, list):
        return [_without_places(each, key) for each in value]
    is_text = isinstance(value, str) and not value.startswith(("$", "@", "%"))
    return None if is_text and (_OF_THIS_MACHINE.search(key) or _A_PATH.match(value)) else value


def _files(bundle: Path) -> Iterator[tuple[str, Path]]:
    for part in _PARTS:
        for path in sorted((bundle / part).rglob("*")):
            relative = path.relative_to(bundle)
            if path.is_file() and not any(each.startswith((".", "__pycache__")) for each in relative.parts):
                yield relative.as_posix(), path
    yield "LICENSE", bundle / "LICENSE"
