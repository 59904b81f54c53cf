"""The model as it was trained, for the configs that use it, so that it is described once, in `train.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle.check import load_config
from medseg.errors import BundleError


def trained(bundle_root: str, checkpoint: str | Sequence[str] | None = None) -> Any:
    """A `monai.bundle.ConfigParser` of the config that a model was trained with, its parts by attribute.

    That is `config.yaml` of the run which left the weights (`RUN/models/model.pt`), with the layers and
    overrides that were given then; for weights of a bundle, or without any, the bundle's own `train.yaml`.
    Of several weights (an ensemble) the first ones' run counts.

    In a config: `trained: $medseg.bundle.trained(@bundle_root, @checkpoint)`, then
    `network_def: $@trained.network_def`. Parts are built when asked for, so nothing of the training
    (its dataset, say) is touched.

    Raises:
        BundleError: if the bundle has no such config, or the weights are of another bundle.
        ConfigError: if the config cannot be read.
    """
    from monai.bundle import ConfigParser

    configs = Path(bundle_root) / "configs"
    own = configs / "train.yaml"
    if not own.is_file():
        raise BundleError(f"{own}: not found; a bundle needs it: is --bundle_root right?")
    if checkpoint is not None and not isinstance(checkpoint, str):
        checkpoint = checkpoint[0]
    of_run = Path(checkpoint).parent.parent / "config.yaml" if checkpoint is not None else own
    source = of_run if of_run.is_file() else own
    config = load_config(source)
    metadata = load_config(configs / "metadata.json")
    _check(config, metadata, source)
    parser = ConfigParser()
    parser.read_config(config)
    parser.read_meta(metadata)
    parser["bundle_root"] = bundle_root
    return parser


def _check(config: Mapping[str, Any], metadata: Mapping[str, Any], source: Path) -> None:
    missing = [id for id in ("network_def", "preprocessing", "inferer") if id not in config]
    if missing:
        raise BundleError(f"{source}: no id '{missing[0]}'; it is no config of a training: train again, or delete it")
    of_bundle, name = config.get("bundle"), metadata.get("name")
    if of_bundle is not None and of_bundle != name:
        raise BundleError(f"{source}: the weights beside it are of the bundle '{of_bundle}', not of '{name}'")
