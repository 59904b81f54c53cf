"""The one way in which medseg itself runs a bundle: as `python -m monai.bundle run` does, with better errors."""

from __future__ import annotations

import copy
import logging
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle.check import UnknownId, compare, load_config, where_given
from medseg.bundle.component_errors import component_error
from medseg.bundle.metadata import check_metadata
from medseg.errors import BundleError, ConfigError, user_error_in
from medseg.shipped import shipped


def find_bundle(name: str | Path) -> Path:
    """The folder of a bundle, given by path or, for those that medseg ships, by name.

    Raises:
        BundleError: if there is none, naming those that there are, or its metadata.json cannot be used.
    """
    known = shipped("bundles")
    for folder in (Path(name), known / str(name)):
        metadata = folder / "configs" / "metadata.json"
        if metadata.is_file():
            check_metadata(metadata)
            return folder
    if zipfile.is_zipfile(name):
        raise BundleError(f"{name}: is a zip file; unpack it, and name the bundle's folder in it")
    names = ", ".join(sorted(each.name for each in known.iterdir() if each.is_dir())) if known.is_dir() else "none"
    raise BundleError(f"{name}: no bundle there (no configs/metadata.json); medseg ships: {names}")


def find_layer(name: str | Path, bundle: Path | None = None) -> Path:
    """The file of a layer, given by path or, for those in `configs/` and in the bundle's own, by name.

    Raises:
        ConfigError: if there is none, naming those that there are.
    """
    known = shipped("configs")
    own = [bundle / "configs" / f"{name}.yaml"] if bundle is not None else []
    for file in (Path(name), known / f"{name}.yaml", *own):
        if file.is_file():
            return file
    names = ", ".join(sorted(each.stem for each in known.glob("*.yaml")))
    raise ConfigError(f"{name}: no layer of that name and no such file; medseg ships: {names}")


def run_bundle(
    bundle: Path,
    config: str,
    *,
    layers: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    run_id: str = "run",
) -> Any:
    """Run `configs/<config>` of a bundle with layers and overrides merged; return its `ConfigWorkflow`.

    Args:
        bundle: the bundle's folder.
        config: such as `train.yaml`.
        layers: config files merged after the bundle's own.
        overrides: id -> value, merged last.
        run_id: the list of expressions to run.

    Raises:
        ConfigError: naming the first unknown id, where it was given, and the nearest valid id; or the component
            that could not be built with, or applied by, the values that it was given.
        MedsegError: whatever the run itself raises.
    """
    overrides = dict(overrides or {})
    own = bundle / "configs" / config
    _check_before_merge(own, layers, overrides, run_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.bundle import ConfigWorkflow

        logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # notices on folders: not for this user
        try:
            # monai.bundle.create_workflow would leave out what is overridden by null
            workflow = ConfigWorkflow([str(own), *map(str, layers)], run_id=run_id, **overrides)
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        except Exception as error:
            mine = user_error_in(error) or component_error(error)
            if mine is None or mine is error:
                raise
            raise mine from error  # out of MONAI's wrapping
    return workflow


def _check_before_merge(own: Path, layers: Sequence[Path], overrides: Mapping[str, Any], run_id: str) -> None:
    """Name what MONAI would stumble over while merging, before a bundle's own `check` can run."""
    from monai.bundle import ConfigParser

    mine = load_config(own)
    merged = ConfigParser(copy.deepcopy(mine))
    for pairs in (*map(load_config, layers), overrides):
        for id, value in pairs.items():
            try:
                merged.set(value, id.removeprefix("+"))
            except (KeyError, IndexError, ValueError, TypeError):
                unknown = UnknownId(id, tuple(mine))
                raise ConfigError(f"{where_given(id, layers)}; {unknown.nearest}") from None
    if run_id not in merged:
        raise ConfigError(f"{own}: has no '{run_id}'; this bundle is not made for it")
    compare(mine, merged.get(), layers)
