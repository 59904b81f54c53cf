"""The model as it was trained, for the configs that use it, so that it is described once, in `train.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle.check import load_config
from medseg.bundle.metadata import class_names
from medseg.errors import BundleError
from medseg.shipped import shipped

_SINCE = ("label_reader", "folds", "postprocessing_steps")  # ids that the configs of earlier runs may lack


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
    configs = Path(bundle_root) / "configs"
    own = configs / "train.yaml"
    if not own.is_file():
        raise BundleError(f"{own}: not found; a bundle needs it: is --bundle_root right?")
    if checkpoint is not None and not isinstance(checkpoint, str):
        checkpoint = checkpoint[0]
    source = (config_of_run(checkpoint) if checkpoint is not None else None) or own
    config = load_config(source)
    if source != own:
        config = {id: value for id, value in load_config(own).items() if id in _SINCE} | config
    metadata = load_config(configs / "metadata.json")
    _check(config, metadata, source)
    return _parser(config, metadata, bundle_root)


def config_of_run(checkpoint: str | Path) -> Path | None:
    """The config that weights were trained with: `RUN/config.yaml` of `RUN/models/model.pt`; None if there is none."""
    path = _folder_of(checkpoint) / "config.yaml"
    return path if path.is_file() else None


def trained_networks(checkpoints: Sequence[str], metadata: Mapping[str, Any]) -> list[Any]:
    """The networks that several weights were trained in, which may be of several bundles; without the weights.

    A network is described by the config of the run that left the weights, or of the bundle that they lie in; None
    stands for one of which neither is there.

    Args:
        checkpoints: the weights' files.
        metadata: of the running bundle.

    Raises:
        BundleError: if not all have the same preprocessing and classes, which an ensemble on one grid needs.
        ConfigError: if a config cannot be read.
    """
    found = [_beside(Path(each), metadata) for each in checkpoints]
    known = [(each, of) for each, of in zip(found, checkpoints, strict=True) if each is not None]
    for parser, checkpoint in known[1:]:
        first, its_checkpoint = known[0]
        another = f"than {its_checkpoint}, so they make no ensemble"
        if parser["preprocessing"] != first["preprocessing"]:
            raise BundleError(f"{checkpoint}: was trained with another preprocessing {another}")
        if class_names(parser["_meta_"]) != class_names(first["_meta_"]):
            raise BundleError(f"{checkpoint}: was trained for other classes {another}")
    return [None if each is None else each.network_def for each in found]


def _beside(checkpoint: Path, metadata: Mapping[str, Any]) -> Any:
    """The config that weights were trained with; None if it is not there."""
    folder = _folder_of(checkpoint)
    of_bundle = folder / "configs" / "train.yaml"
    source = config_of_run(checkpoint) or of_bundle
    if not source.is_file():
        return None
    config = load_config(source)
    if source == of_bundle:
        metadata = load_config(folder / "configs" / "metadata.json")
    elif config.get("bundle", metadata["name"]) != metadata["name"]:
        root = shipped("bundles") / config["bundle"]
        if not root.is_dir():
            raise BundleError(f"{source}: was trained with the bundle '{config['bundle']}', which is not here")
        metadata = load_config(root / "configs" / "metadata.json")
    _check(config, metadata, source)
    return _parser(config, metadata, str(folder))


def _folder_of(checkpoint: str | Path) -> Path:
    """The run, or the bundle, whose weights these are."""
    return Path(checkpoint).resolve().parent.parent


def _parser(config: Mapping[str, Any], metadata: Mapping[str, Any], bundle_root: str) -> Any:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(dict(config))
    parser.read_meta(dict(metadata))
    parser["bundle_root"] = bundle_root
    return parser


def _check(config: Mapping[str, Any], metadata: Mapping[str, Any], source: Path) -> None:
    missing = [id for id in ("network_def", "preprocessing", "inferer") if id not in config]
    if missing:
        raise BundleError(f"{source}: no id '{missing[0]}'; it is no config of a training: train again, or delete it")
    of_bundle, name = config.get("bundle"), metadata.get("name")
    if of_bundle is not None and of_bundle != name:
        raise BundleError(f"{source}: the weights beside it are of the bundle '{of_bundle}', not of '{name}'")
