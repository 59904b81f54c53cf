"""Where runs are kept: the tracking URI, and what belongs to a store that is an SQLite file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from filelock import FileLock

from medseg.errors import ConfigError

_VARIABLE = "MLFLOW_TRACKING_URI"
_DEFAULT = "sqlite:///mlflow.db"  # also what `mlflow ui` shows when started without options
_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")  # others come with plugins
_LOCK_S = 60


def full_uri(given: str | None) -> str:
    """Return `given`, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.

    Raises:
        ConfigError: for a folder or a `file:` URI, which MLflow no longer takes; for a scheme that it does not know.
    """
    uri = given or os.environ.get(_VARIABLE) or _DEFAULT
    name, mend = "tracking_uri" if given else _VARIABLE, "write sqlite:///FOLDER/mlflow.db or http://HOST:PORT"
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme == "file" or (":" not in uri and uri != "databricks"):
        raise ConfigError(
            f"{name} {without_user(uri)!r}: MLflow keeps runs in a database or on a server, not in a folder; {mend}"
        )
    if scheme not in _SCHEMES and not entry_points(group="mlflow.tracking_store", name=scheme):
        raise ConfigError(f"{name} {without_user(uri)!r}: MLflow knows no '{scheme}'; {mend}")
    database = sqlite_file(uri)
    return sqlite_uri(database) if database else uri


def sqlite_uri(database: Path) -> str:
    """Return the URI of a database file given by its absolute path."""
    return f"sqlite:///{_escaped(database)}"


def sqlite_file(uri: str) -> Path | None:
    """Return the absolute path of the database file that `uri` names, or None if it names no file."""
    path = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else ""
    return None if path in ("", ":memory:") else Path(path.replace("%25", "%")).absolute()


def artifact_folder(uri: str, experiment: str) -> str | None:
    """Return the folder for the files of `experiment`, `mlruns` beside the database; None for a server's own.

    MLflow's default is the working directory of whoever made the experiment, wherever the database is.
    """
    database = sqlite_file(uri)
    if database is None:
        return None
    return _escaped(database.parent / "mlruns" / re.sub(r"[^\w.-]+", "-", experiment))


@contextlib.contextmanager
def alone_with(database: Path | None) -> Iterator[None]:
    """Keep other trainings away from `database`: two that make its tables at once break it.

    Raises:
        filelock.Timeout: after a minute.
        OSError: for a folder that cannot be written.
    """
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock"), timeout=_LOCK_S):
        yield


def without_user(text: str) -> str:
    """Return `text` with user and password taken out of every URI in it."""
    return re.sub(r"(?<=://)\S*@", "", text)  # a password may hold any sign


def _escaped(path: Path) -> str:
    # MLflow reads "%41" as "A", and all else as it stands, blanks and umlauts included.
    return str(path).replace("%", "%25")
