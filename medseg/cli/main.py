"""The command `medseg`: every subcommand is a thin door to a function or a bundle run."""

from __future__ import annotations

import errno
import io
import os
import sys

import typer

from medseg import __version__
from medseg.cli.adapt import adapt
from medseg.cli.convert import convert
from medseg.cli.data import data
from medseg.cli.demo import demo
from medseg.cli.doctor import doctor
from medseg.cli.inspect import inspect
from medseg.cli.memory import memory
from medseg.cli.pack import pack
from medseg.cli.phantom import phantom
from medseg.cli.run import evaluate, predict, train, tune
from medseg.cli.weights import weights
from medseg.errors import OutputError, on_one_line, user_error_in

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    name="medseg",
    help="Train, measure and use MONAI bundles that segment CT, MRI and other medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(context_settings=_PASS_ON)(train)
app.command(context_settings=_PASS_ON)(evaluate)
app.command(context_settings=_PASS_ON)(tune)
app.command(context_settings=_PASS_ON)(predict)
app.command()(inspect)
app.command()(convert)
app.command()(adapt)
app.command()(pack)
app.command()(weights)
app.command()(phantom)
app.command()(demo)
app.command()(memory)
app.add_typer(data, name="data")
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the console cannot show
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # while there is somebody to tell that it cannot be done
    except Exception as error:
        mine = user_error_in(error)
        if mine is None and isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):
            mine = OutputError(f"{error.filename or 'standard output'}: {error.strerror}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python may write the rest in the end
        if mine is None:
            raise
        sys.stderr.write(f"medseg: error: {on_one_line(str(mine))}\n")
        sys.exit(1)
