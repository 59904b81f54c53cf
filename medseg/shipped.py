"""Where the files are that travel with the code: bundles, configs, the tested versions."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of `bundles`, `configs` or `scripts/constraints.txt`, or of something in them.

    A wheel carries each top-level folder inside the package with an underscore before its name
    (pyproject.toml says which); a checkout, and so an editable install, has it beside the package.
    """
    inside = _PACKAGE / f"_{name}"
    return inside if inside.exists() else _PACKAGE.parent / name
