"""One config of a bundle read from another, so that the model is described once, in `train.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medseg.errors import BundleError


def sibling(bundle_root: str, name: str) -> Any:
    """A `monai.bundle.ConfigParser` of the config `name` of the bundle at `bundle_root`, its parts by attribute.

    In a config: `training: $medseg.bundle.sibling(@bundle_root, 'train.yaml')`, then
    `network_def: $@training.network_def`. Parts are built when asked for, so nothing of the training
    (its dataset, say) is touched.

    Raises:
        BundleError: if the bundle has no such config.
    """
    from monai.bundle import ConfigParser

    folder = Path(bundle_root) / "configs"
    if not (folder / name).is_file():
        raise BundleError(f"{folder / name}: not found; a bundle needs it: is --bundle_root right?")
    parser = ConfigParser()
    parser.read_config(str(folder / name))
    parser.read_meta(str(folder / "metadata.json"))
    parser["bundle_root"] = bundle_root
    return parser
