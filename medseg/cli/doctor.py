"""`medseg doctor`: what this machine can do."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medseg.doctor import Finding, examine


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Say what this machine can do, and for each thing amiss the mend.

    The exit status is 1 if medseg cannot work here at all.

    Example: medseg doctor
    """
    findings = examine()
    if as_json:
        typer.echo(json.dumps({"findings": [_facts(finding) for finding in findings]}, indent=2))
    else:
        _show(findings)
    if any(finding.broken for finding in findings):
        raise typer.Exit(1)


def _facts(finding: Finding) -> dict[str, str | bool | None]:
    return {
        "name": finding.name,
        "value": finding.value,
        "amiss": finding.amiss,
        "broken": finding.broken,
        "mend": finding.mend,
    }


def _show(findings: list[Finding]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        colour = "red" if finding.broken else "yellow" if finding.amiss else "green"
        mark = Text("!" if finding.amiss else "✓", colour)
        table.add_row(mark, Text(finding.name, "bold"), Text(finding.value))
        if finding.mend:
            table.add_row("", "", Text(f"→ {finding.mend}", colour))
    Console(highlight=False).print(table)
