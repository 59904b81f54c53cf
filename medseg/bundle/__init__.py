"""A bundle folder: where it is, what its metadata says, whether a config fits it, and how it is shipped."""

from medseg.bundle.check import check, load_config
from medseg.bundle.metadata import class_colours, class_names, label_classes, painted_classes
from medseg.bundle.published import load_published
from medseg.bundle.running import root
from medseg.bundle.trained import trained

__all__ = [
    "check",
    "class_colours",
    "class_names",
    "label_classes",
    "load_config",
    "load_published",
    "painted_classes",
    "root",
    "trained",
]
