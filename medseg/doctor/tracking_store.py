"""Whether runs can be recorded where MLflow would record them."""

from __future__ import annotations

import os
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from medseg.doctor.finding import Finding
from medseg.errors import ConfigError
from medseg.tracking.uri import full_uri, sqlite_file, without_user

_SECONDS_TO_ANSWER = 2.0
_INSTEAD = "unset MLFLOW_TRACKING_URI to record in ./mlflow.db"


def tracking_store() -> Finding:
    """The place of `MLFLOW_TRACKING_URI`, by default `mlflow.db` in the working directory.

    User name, password and query of the URI are left out of what is said.
    """
    try:
        uri = full_uri(None)
    except ConfigError as error:
        told, _, mend = str(error).rpartition("; ")
        return _finding(told, f"{mend}, or {_INSTEAD}")
    database = sqlite_file(uri)
    if database is not None:
        return _database(Path(database.name) if database.parent == Path.cwd() else database)
    public = without_user(uri).partition("?")[0].rstrip("/")
    return _server(public) if public.startswith("http") else _finding(f"{public}, not tried")


def _server(address: str) -> Finding:
    try:
        # Without user name and password: a server says to everybody how it is.
        with urllib.request.urlopen(f"{address}/health", timeout=_SECONDS_TO_ANSWER) as answer:
            problem = "" if answer.read(16).strip() == b"OK" else "answers, but is no MLflow server"
    except urllib.error.HTTPError as error:
        problem = f"answers with status {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        problem = f"does not answer ({getattr(error, 'reason', error)})"
    if problem:
        return _finding(f"{address} {problem}", f"start the server, correct MLFLOW_TRACKING_URI, or {_INSTEAD}")
    return _finding(f"{address} answers")


def _database(path: Path) -> Finding:
    if not path.exists():
        if os.access(path.parent, os.W_OK):
            return _finding(f"{path}, made by the first run")
        return _finding(f"{path}: no folder that can be written", f"make the folder, or {_INSTEAD}")
    try:
        address = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_ANSWER)) as database:
            database.execute("BEGIN IMMEDIATE")  # reads the file and takes the right to write, writes nothing
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        mend = "if no other program holds it, move it away, or set MLFLOW_TRACKING_URI to another place"
        return _finding(f"{path}: {error}", mend)
    return _finding(f"{path}, can be written")


def _finding(value: str, mend: str | None = None) -> Finding:
    return Finding("tracking store", value, mend)
