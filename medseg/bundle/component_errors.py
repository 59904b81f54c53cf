"""Which component of a config refused its values: MONAI tells it in a chain of errors, a user reads one line."""

from __future__ import annotations

import re

from medseg.errors import ConfigError, causes_of, reason

_BUILT = re.compile(r"Failed to instantiate component '([^']+)'")
_APPLIED = re.compile(r"applying transform <([\w.]+)")
# What values of a wrong kind or size end in; other errors are faults of the program and keep their traceback.
_REFUSALS = (TypeError, ValueError, AssertionError, ImportError, RuntimeError, IndexError)


def component_error(error: BaseException) -> ConfigError | None:
    """The innermost component that could not be built or applied, and why; None for an error of another kind."""
    chain = list(causes_of(error))
    found = None
    for each in chain:
        text = str(each)
        if built := _BUILT.search(text):
            found = f"{built[1]}: cannot be built"
        elif applied := _APPLIED.search(text):
            found = f"{applied[1]}: cannot be applied"
    innermost = chain[-1]
    why = reason(innermost, most=10_000)
    if found is None or not isinstance(innermost, _REFUSALS) or _BUILT.search(why) or _APPLIED.search(why):
        return None
    return ConfigError(f"{found}: {why[:300]}; check the values that the config gives it")
