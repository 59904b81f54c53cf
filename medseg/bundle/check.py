"""No id passes in silence: every override and layer key must be one that the bundle knows.

MONAI accepts `--max_epoch 3` or a misspelt key in a layer without a word and trains with the default.
A bundle's config calls `check` as its first `initialize` expression, so that the stock
`python -m monai.bundle run` says so too.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc import locate
from typing import Any

from medseg.bundle.running import config_files, root, running_workflow
from medseg.errors import ConfigError, one_line_errors, reason

_OF_THE_TRAINING = ("$@trained.", "$medseg.bundle.trained(")  # how configs take what train.yaml describes
_SEPARATOR = "::"
_MONAIS_HANDLERS = ("train_handlers", "val_handlers")  # which its option --tracking adds to
_COMPONENT_KEYS = {"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"}
_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")


@dataclass(frozen=True)
class UnknownId:
    """An id that the bundle does not know, and the ids that could have stood in its place."""

    id: str
    siblings: tuple[str, ...]

    @property
    def nearest(self) -> str:
        """The most alike valid id, in full, or all of them where none is alike."""
        parent, _, leaf = self.id.rpartition(_SEPARATOR)
        prefix = f"{parent}{_SEPARATOR}" if parent else ""
        alike = difflib.get_close_matches(leaf, self.siblings, n=1, cutoff=0.6)
        if alike:
            return f"did you mean '{prefix}{alike[0]}'?"
        return "valid here: " + ", ".join(f"'{each}'" for each in sorted(self.siblings))


def check(name: str) -> None:
    """Compare the running config with the bundle's own file `name` (such as `train.yaml`).

    To be the first expression of a bundle's `initialize`. Also turns every later `MedsegError` that
    nobody catches into one line on stderr instead of a traceback.

    Raises:
        ConfigError: naming the first unknown id, where it was given, and the nearest valid id.
    """
    one_line_errors()
    workflow = running_workflow()
    if workflow is not None:
        own = load_config(Path(root()) / "configs" / name)
        compare(own, workflow.parser.get(), config_files()[1:])
        if "network_data_format" not in (workflow.parser.get("_meta_") or {}):
            raise ConfigError(
                "metadata: there is no 'network_data_format' in it; is --meta_file the bundle's metadata.json?"
            )


def compare(own: Mapping[str, Any], merged: Mapping[str, Any], layers: Sequence[Path]) -> None:
    """Hold a merged config against the bundle's own file.

    Raises:
        ConfigError: naming the first id that is unknown, where it was given, and the nearest valid one; or the first
            that has a value which cannot stand there.
    """
    for unknown in unknown_ids(own, merged):
        if unknown.id.endswith(_MONAIS_HANDLERS):
            raise ConfigError("--tracking: is MONAI's, of other engines; medseg tracks by itself: see --tracking_uri")
        raise ConfigError(f"{where_given(unknown.id, layers)}; {unknown.nearest}")
    for misplaced in misplaced_values(own, merged):
        raise ConfigError(misplaced)


def load_config(path: Path) -> dict[str, Any]:
    """The raw content of one config file, with nested `a::b` keys merged to their places.

    Raises:
        ConfigError: if the file is missing, is no YAML or JSON, or holds no mapping.
    """
    from monai.bundle import ConfigParser

    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        content = ConfigParser.load_config_files(str(path))
    except (KeyError, IndexError):
        content = ConfigParser.load_config_file(str(path))  # a layer's nested keys need the bundle below them
    except Exception as error:
        raise ConfigError(f"{path}: cannot be read as a config: {reason(error)}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: holds no ids; expected lines such as 'max_epochs: 10'")
    return dict(content)


def unknown_ids(own: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[UnknownId]:
    """Every id of `merged` that is neither in `own`, nor an argument of its component, nor referred to."""
    referred = {match.replace("#", _SEPARATOR) for text in _strings(merged) for match in _REFERENCE.findall(text)}
    for unknown in _walk(own, {k: v for k, v in merged.items() if k != "_meta_"}, ""):
        if not any(f"{each}{_SEPARATOR}".startswith(unknown.id + _SEPARATOR) for each in referred):
            yield unknown


def misplaced_values(own: Any, merged: Any, id: str = "") -> Iterator[str]:
    """What `merged` gives in the place of a component of `own`, or a text in that of a truth, in words.

    The one would fail somewhere inside; the other, such as 'false', would count as true.
    """
    if isinstance(own, Mapping) and "_target_" not in own and isinstance(merged, Mapping):
        for key in own.keys() & merged.keys():
            yield from misplaced_values(own[key], merged[key], f"{id}{_SEPARATOR}{key}" if id else str(key))
    is_component = isinstance(own, Mapping) and "_target_" in own
    is_part = isinstance(own, str) and own.startswith(_OF_THE_TRAINING)
    refers = isinstance(merged, str) and merged.startswith(("$", "@", "%"))
    if isinstance(own, bool) and isinstance(merged, str) and not refers:
        yield f"{id}: '{merged}': write True or False"
    if (is_component or is_part) and not (merged is None or refers or isinstance(merged, Mapping)):
        yield f"{id}: '{merged}' cannot stand for a component; give arguments ({id}::NAME), a _target_ or a reference"


def _walk(own: Any, merged: Any, id: str) -> Iterator[UnknownId]:
    if isinstance(merged, Mapping):
        allowed = _allowed_keys(own, merged, id)
        for key, value in merged.items():
            child = f"{id}{_SEPARATOR}{key}" if id else str(key)
            if allowed is not None and key not in allowed:
                yield UnknownId(child, tuple(allowed - _COMPONENT_KEYS))
            else:
                yield from _walk(own.get(key) if isinstance(own, Mapping) else None, value, child)
    elif isinstance(merged, Sequence) and not isinstance(merged, str):
        for index, value in enumerate(merged):
            below = own[index] if isinstance(own, list) and index < len(own) else None
            yield from _walk(below, value, f"{id}{_SEPARATOR}{index}")


def _allowed_keys(own: Any, merged: Mapping[str, Any], id: str) -> set[str] | None:
    """The keys that may stand in `merged`; None where any may."""
    own_keys = set(own) if isinstance(own, Mapping) else None
    target = merged.get("_target_")
    if target is None:
        return own_keys
    if own_keys is not None and own.get("_target_") == target and set(merged) <= own_keys:
        return own_keys  # untouched: spares looking the component up
    if not isinstance(target, str) or target.startswith("$"):
        return None
    return _arguments(target, id)


def _arguments(target: str, id: str) -> set[str] | None:
    """The argument names of a component, named as in a config; None where it takes any."""
    from monai.bundle import ComponentLocator, ConfigComponent

    locator = ComponentLocator()
    component = locate(ConfigComponent({"_target_": target}, id=id, locator=locator).resolve_module_name())
    if component is None:
        names = tuple(locator._components_table or ())
        raise ConfigError(f"{id}: no component '{target}'; {UnknownId(target, names).nearest[:200]}")
    parameters = inspect.signature(component).parameters.values()  # type: ignore[arg-type]
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    return {each.name for each in parameters} | _COMPONENT_KEYS


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _strings(value)


def where_given(id: str, layers: Sequence[Path]) -> str:
    """Who gave `id`: the last layer that holds it, else the command line."""
    for layer in reversed(layers):
        if any(id == each or each.startswith(id + _SEPARATOR) for each in _flat(load_config(layer), "")):
            return f"{layer}: unknown id '{id}'"
    return f"unknown override --{id}"


def _flat(node: Any, id: str) -> Iterator[str]:
    if id:
        yield id
    if isinstance(node, Mapping):
        for key, value in node.items():
            name = str(key).removeprefix("+").replace("#", _SEPARATOR)
            yield from _flat(value, f"{id}{_SEPARATOR}{name}" if id else name)
