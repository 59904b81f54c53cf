"""`medseg data`: public datasets to train on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from medseg.cli.run import quiet_libraries

data = typer.Typer(help="Fetch the datasets of the Medical Segmentation Decathlon.", no_args_is_help=True)


@data.command("list")
def list_datasets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Name the datasets that can be fetched, what they show and their licence.

    Example: medseg data list
    """
    quiet_libraries()
    from medseg.data.decathlon import LICENCE, TASKS

    if as_json:
        typer.echo(json.dumps({"datasets": [asdict(each) | {"licence": LICENCE} for each in TASKS]}, indent=2))
        return
    table = Table(title=f"Medical Segmentation Decathlon, licence {LICENCE}", title_justify="left")
    for column in ("name", "folder", "modality", "labelled"):
        table.add_column(column, no_wrap=column in ("name", "folder"))
    for each in TASKS:
        table.add_row(each.name, each.folder, each.modality, each.labelled)
    Console(highlight=False).print(table)


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Such as spleen or Task09_Spleen; see `medseg data list`.")],
    to: Annotated[Path, typer.Option("--to", help="A folder to put TaskNN_Name into; made if absent.")],
) -> None:
    """Download a dataset, check it and unpack it; a download that broke off goes on.

    Example: medseg data fetch spleen --to data
    """
    quiet_libraries()
    from medseg.data.decathlon import LICENCE, find_task
    from medseg.data.decathlon import fetch as fetch_dataset

    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(find_task(name).folder, total=None)
        found = fetch_dataset(name, to, report=lambda have, total: progress.update(bar, completed=have, total=total))
    there = "already there, " if found.was_there else ""
    typer.echo(f"{found.folder}: {there}{found.cases} labelled cases; licence {LICENCE}: name the source")
