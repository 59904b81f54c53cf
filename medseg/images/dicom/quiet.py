"""pydicom's warnings stay off the screen: what they say is either an error of ours or of no use to a user."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
if hasattr(os, "register_at_fork"):  # a child must not begin with a lock that another thread holds
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_within: list[
    object
] = []  # Python's filters are one for all threads: the first one in sets them, the last one out resets
_filters = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and no log lines of pydicom, within; in any number of threads."""
    global _filters
    mark = object()
    with _lock:
        if not _within:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
            logging.getLogger("pydicom").disabled = True
        _within.append(mark)
    try:
        yield
    finally:
        with _lock:
            _within.remove(mark)
            if not _within:
                _filters.__exit__(None, None, None)
                logging.getLogger("pydicom").disabled = False
