"""What of a training may leave the machine, and under which name MLflow takes it.

A tracking server is often shared, and the folder of a study is often named after a patient: every
local path stays here, and so does a password in an address.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from medseg.tracking.uri import without_user

LOCAL_PATH = "<local path>"

# The keys whose value is a path whatever it looks like: dataset_dir, output_dir, input, ckpt_path, ...
_PATH_KEY = re.compile(r"(^|_)(dir|path|file|filename|folder|root|input|output)$")
# Where an absolute path begins: after a blank, a quote or a bracket; `a / b` and `http://x/y` hold none.
_ABSOLUTE = r"(?:^|(?<=[\s'\"=(,\[{]))(?:/(?=[^/\s])|~[\w.-]*/|[A-Za-z]:[\\/](?!/)|\\\\|file:)"
_HIDDEN = re.compile(_ABSOLUTE + r"[^'\"\n]*?(?=: |['\"\n]|$)|(?!\d+/\d)[^\s'\"]+[\\/][^\s'\":]*")
_KEY_LENGTH = 250
_VALUE_LENGTH = 6000


def public_config(config: Mapping[str, object]) -> dict[str, object]:
    """Return `config` with `LOCAL_PATH` in place of every value that is, holds or lies under a local path.

    A value counts as one where it is a path object, an absolute path (POSIX, Windows, `~`, `file:`), a
    path that exists, the value of a key such as `dataset_dir` or `input`, or lies under such a value.
    """
    roots = tuple(value for value in _values_of_path_keys(config) if value not in (".", ".."))
    return {str(key): _hidden(str(key), value, roots) for key, value in config.items()}


def public_params(config: Mapping[str, object]) -> dict[str, str]:
    """Return `public_config(config)` flattened to MLflow parameters, `{"train/lr": "0.0003", ...}`.

    A list of plain values is one parameter; a list that holds mappings is one per entry, by index.
    """
    return {
        metric_name(*keys): text[:_VALUE_LENGTH]
        for key, value in public_config(config).items()
        for keys, text in _leaves((key,), value)
    }


def public_text(text: str) -> str:
    """Return `text`, such as a reason for failing, with `LOCAL_PATH` in place of paths, relative ones too."""
    return _HIDDEN.sub(LOCAL_PATH, text)


def metric_name(*parts: str) -> str:
    """Join `parts` with the `/` by which MLflow groups its charts: `metric_name("dice", "liver")`.

    Whatever MLflow refuses in a name becomes `_`, a `/` or `:` within a part as well.
    """
    return "/".join(map(_word, parts))[:_KEY_LENGTH].rstrip("/ ")


def _word(part: str) -> str:
    # A part made of dots alone would be a relative path to MLflow.
    return re.sub(r"[^\w.\- ]+", "_", part).strip(" .") or "_"


def _values_of_path_keys(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner, entry in value.items():
            yield from _values_of_path_keys(entry, str(inner))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _values_of_path_keys(entry, key)
    elif _is_path_under(key, value):
        yield str(value).rstrip("/\\")


def _is_path_under(key: str, value: object) -> bool:
    # "$..." and "@..." are expressions of the config language: their own literals are looked at instead.
    return isinstance(value, str) and value[:1] not in ("", "$", "@") and bool(_PATH_KEY.search(key))


def _hidden(key: str, value: object, roots: tuple[str, ...]) -> object:
    if isinstance(value, Mapping):
        return {str(inner): _hidden(str(inner), entry, roots) for inner, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(key, entry, roots) for entry in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    local = isinstance(value, os.PathLike) or _is_path_under(key, value) or _is_local(str(value), roots)
    return LOCAL_PATH if local else without_user(str(value))


def _is_local(value: str, roots: tuple[str, ...]) -> bool:
    if re.search(_ABSOLUTE, value):
        return True
    for root in roots:
        # A root of one plain word ("data") counts only at the start, or every `@data` would be hidden.
        start = r"(?<![\w.-])" if re.search(r"[\\/]", root) else "^"
        if root and re.search(start + re.escape(root) + r"(?![\w.-])", value):
            return True
    try:
        return bool(value) and Path(value).exists()
    except (OSError, ValueError):
        return False


def _leaves(keys: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves((*keys, key), entry)
    elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        for index, entry in enumerate(value):
            yield from _leaves((*keys, str(index)), entry)
    else:
        yield keys, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
