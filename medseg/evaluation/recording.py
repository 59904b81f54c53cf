"""An evaluation as an MLflow run of its own, beside the trainings of its bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.tracking.tracker import Tracker


def record(
    summary: Mapping[str, Any],
    pictures: Sequence[Path],
    differences: Sequence[Path] = (),
    *,
    metadata: Mapping[str, Any],
    tags: Mapping[str, str],
    tracking_uri: str | None,
) -> None:
    """Log the numbers of a summary and some pictures; neither case names nor paths.

    Args:
        summary: as `Evaluation.summary` gives it; every number becomes a metric named by its keys, such as
            `measures/pixels/structures/vessel/roc_auc`, and the bounds of its 95 % interval two more, that name
            with `_ci95_low` and `_ci95_high`.
        pictures: PNG files whose names name no case.
        differences: PNG files whose names do: in MLflow they are `difference/001.png`, ... in the order of their names.
        metadata: of the bundle, whose name is the experiment's.
        tags: such as the fold.
        tracking_uri: of MLflow; None for `MLFLOW_TRACKING_URI`, else SQLite in the working directory.
    """
    tracker = Tracker.start(
        experiment=str(metadata["name"]),
        tracking_uri=tracking_uri,
        params={},
        tags={
            "bundle": str(metadata["name"]),
            "bundle_version": str(metadata["version"]),
            "medseg_version": __version__,
            "length_unit": str(summary["length_unit"]),
            "kind": "evaluation",
            **tags,
        },
        run_name="evaluation",
    )
    tracker.metrics(dict(numbers(summary)), epoch=0)
    for path in pictures:
        tracker.picture(path)
    digits = max(3, len(str(len(differences))))
    for number, path in enumerate(sorted(differences), start=1):
        tracker.artifact(path, "difference", f"{number:0{digits}}.png")
    tracker.finish("FINISHED")


def numbers(node: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number below `node` with its keys joined by slashes; an estimate is its value and its bounds."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("failed", "settings"):
                continue
            if key == "interval":
                for bound, each in zip(("low", "high"), value or (), strict=False):
                    yield f"{name}_ci95_{bound}", float(each)
                continue
            below = name if key in ("value", "mean") else f"{name}/{key}" if name else str(key)
            yield from numbers(value, below)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield name, float(node)
