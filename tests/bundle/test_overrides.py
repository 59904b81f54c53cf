"""Words of the command line mean what they mean to `python -m monai.bundle run`."""

from __future__ import annotations

import pytest

from medseg.bundle.overrides import parse_overrides
from medseg.errors import ConfigError


def test_values_are_read_as_monai_reads_them() -> None:
    words = ["--a", "3", "--b::c=0.5", "--d", "[1, 2]", "--e", "runs/x", "--f", "True", "--g=-1"]
    assert parse_overrides(words) == {"a": 3, "b::c": 0.5, "d": [1, 2], "e": "runs/x", "f": True, "g": -1}


def test_truths_and_null_are_read_as_in_configs() -> None:
    assert parse_overrides(["--a", "true", "--b", "false", "--c=null"]) == {"a": True, "b": False, "c": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stray"], "'stray': expected --ID VALUE"),
        (["--a"], "--a: has no value"),
        (["--a", "--b", "1"], "--a: has no"),
    ],
)
def test_words_that_are_no_overrides_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_overrides(words)
