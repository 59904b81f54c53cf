"""Words of a command line as overrides of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medseg.errors import ConfigError

_AS_IN_CONFIGS = {"true": True, "false": False, "null": None}


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """`["--a::b", "3", "--c=x"]` as `{"a::b": 3, "c": "x"}`; values as `python -m monai.bundle run` reads them.

    Only `true`, `false` and `null` are read as in the configs themselves; there they stay texts, which count as true.

    Raises:
        ConfigError: for a word that is no `--ID`, or an id without a value.
    """
    from fire.parser import DefaultParseValue  # what monai.bundle's command line parses with

    overrides: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise ConfigError(f"'{word}': expected --ID VALUE, an id of the bundle's config and its value")
        id, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"--{id}: has no value; give --{id} VALUE")
            value = rest.pop(0)
        overrides[id] = _AS_IN_CONFIGS[value] if value in _AS_IN_CONFIGS else DefaultParseValue(value)
    return overrides
