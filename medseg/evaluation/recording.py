"""An evaluation as an MLflow run of its own, beside the trainings of its bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.tracking import Tracker


def record(
    summary: Mapping[str, Any],
    pictures: Sequence[Path],
    *,
    metadata: Mapping[str, Any],
    tags: Mapping[str, str],
    tracking_uri: str | None,
) -> None:
    """Log the numbers of a summary and some pictures; neither case names nor paths.

    Args:
        summary: as `Evaluation.summary` gives it; every number becomes a metric named by its keys.
        pictures: PNG files whose names name no case.
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
            "kind": "evaluation",
            **tags,
        },
        run_name="evaluation",
    )
    tracker.metrics(dict(_numbers(summary)), epoch=0)
    for path in pictures:
        tracker.picture(path)
    tracker.finish("FINISHED")


def _numbers(node: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number below `node` with its keys joined by slashes; an estimate is its value."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("failed", "interval", "settings"):
                continue
            below = name if key in ("value", "mean") else f"{name}/{key}" if name else str(key)
            yield from _numbers(value, below)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield name, float(node)
