"""Which bundle is running: what a config's own expressions cannot know from inside MONAI.

A config needs the folder it stands in (for its weights and metadata) and, to check itself, the layers
and overrides it was merged with. MONAI 1.6 hands neither to the expressions it evaluates, so both are
looked up in the calling frames: the `ConfigWorkflow` that evaluates us, or the `config_file` argument
of the `monai.bundle` command (`run`, `verify_net_in_out`, `ckpt_export`, ...) above it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def _monai_callers() -> Iterator[Mapping[str, Any]]:
    """The local variables of every `monai.bundle` function that is calling us, innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("monai.bundle"):
            yield frame.f_locals
        frame = frame.f_back


def running_workflow() -> Any | None:
    """The `monai.bundle.ConfigWorkflow` that is evaluating the caller, or None outside of one."""
    from monai.bundle import ConfigWorkflow

    selves = (local.get("self") for local in _monai_callers())
    return next((each for each in selves if isinstance(each, ConfigWorkflow)), None)


def running_parser() -> Any | None:
    """The `monai.bundle.ConfigParser` that is evaluating the caller, or None outside of one."""
    from monai.bundle import ConfigParser

    selves = (local.get("self") for local in _monai_callers())
    return next((each for each in selves if isinstance(each, ConfigParser)), None)


def config_files() -> tuple[Path, ...]:
    """The config files of the running command, bundle's first and layers after; empty where unknown."""
    for local in _monai_callers():
        for name in ("config_file", "config_file_"):
            value = local.get(name)
            if value:
                return tuple(Path(each) for each in ([value] if isinstance(value, str | Path) else value))
    return ()


def root() -> str:
    """The folder of the running bundle, the one that holds `configs/`.

    Falls back to the working directory, which is MONAI's own convention, where nothing tells better:
    a host that reads the config by itself sets `bundle_root` to what it knows.
    """
    files = config_files()
    workflow = running_workflow()
    if files:
        folder = files[0].resolve().parent
    elif workflow is not None:
        folder = Path(workflow.config_root_path).resolve()
    else:
        return "."
    return str(folder.parent if folder.name == "configs" else folder)
