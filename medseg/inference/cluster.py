"""The cases of a batch on a Ray cluster."""

from __future__ import annotations

from typing import Any


def run_on_ray(batch: Any, entries: Any, progress: Any) -> None:
    """."""
