"""Folders of images and labels: the list of cases, the check, the folds and the digest.

The synthetic dataset is imported by its own name, `from medseg.data.phantom import make_phantom`, and so are the
MONAI transforms, `medseg.data.weight_map.BorderWeightsd` and `medseg.data.elastic.RandGridElasticd`: importing MONAI
takes seconds.
"""

from medseg.bundle.parts import takes_parts
from medseg.data.check import check_cases
from medseg.data.datalist import Case, find_cases
from medseg.data.dataset import Split, load_labelled, load_split
from medseg.data.digest import digest
from medseg.data.folds import Folds, split

_PARTS = {
    "dataset_dir": "dataset_dir",
    "metadata": "_meta_",
    "fold": "fold",
    "max_cases": "max_cases",
    "folds": "folds",
    "label_reader": "label_reader",
}

_TRAINED = {each: each for each in ("preprocessing", "inferer", "bundle_root")}

bundle_split = takes_parts(**_PARTS, **_TRAINED)(load_split)
bundle_labelled = takes_parts(**_PARTS, side="side", masked="masked")(load_labelled)

__all__ = [
    "Case",
    "Folds",
    "Split",
    "bundle_labelled",
    "bundle_split",
    "check_cases",
    "digest",
    "find_cases",
    "load_labelled",
    "load_split",
    "split",
]
