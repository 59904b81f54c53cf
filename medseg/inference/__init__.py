"""Whole scans to segmentations on their own grid."""

from medseg.bundle.parts import takes_parts
from medseg.inference.ensemble import Ensemble
from medseg.inference.inputs import find_inputs
from medseg.inference.predictor import Predictor
from medseg.inference.restoring.decision import Decision
from medseg.inference.restoring.to_source_grid import to_source_grid
from medseg.inference.windows.mirrored import Mirrored
from medseg.inference.windows.overlap_tile import OverlapTile
from medseg.inference.windows.slices import Slices
from medseg.inference.windows.sliding_window import SlidingWindow

MODEL_PARTS = {
    "device": "device",
    "dataset": "dataset",
    "network": "network_def",
    "checkpoint": "checkpoint",
    "inferer": "inferer",
    "postprocessing": "postprocessing",
    "metadata": "_meta_",
    "output_dir": "output_dir",
    "precision": "precision",
    "backend": "backend",
    "ram": "ram",
    "vram": "vram",
    "coarse": "coarse",
}
_BATCH_PARTS = {each: each for each in ("save_probabilities", "tolerances", "resume", "shard", "engine")}
_INPUT_PARTS = {"path": "input", "metadata": "_meta_", "output_dir": "output_dir", "inferer": "inferer"}

bundle_predictor = takes_parts(**MODEL_PARTS, **_BATCH_PARTS)(Predictor)
bundle_inputs = takes_parts(**_INPUT_PARTS)(find_inputs)
bundle_postprocessing = takes_parts(preprocessing="preprocessing", checkpoint="checkpoint", metadata="_meta_")(
    to_source_grid
)

__all__ = [
    "MODEL_PARTS",
    "Decision",
    "Ensemble",
    "Mirrored",
    "OverlapTile",
    "Predictor",
    "Slices",
    "SlidingWindow",
    "bundle_inputs",
    "bundle_postprocessing",
    "bundle_predictor",
    "find_inputs",
    "to_source_grid",
]
