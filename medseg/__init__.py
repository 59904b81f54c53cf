"""MONAI bundles for medical image segmentation: trained, measured, tracked, and back on the scan."""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_PACKAGES = ("bundle", "data", "device", "evaluation", "images", "inference", "training")


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage when it is first named, so that a config needs only `$import medseg`."""
    if name in _PACKAGES:
        return import_module(f"medseg.{name}")
    raise AttributeError(f"module 'medseg' has no attribute '{name}'")
