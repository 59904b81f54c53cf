"""What a prediction run tells of every case: a line for a person, a record for a table and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from medseg.errors import on_one_line
from medseg.inference.quality.verdict import Verdict
from medseg.inference.stages import STAGES

BETWEEN = " | "  # the warnings, or files, in a table's cell
_FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet would compute


@dataclass(frozen=True)
class CaseRow:
    """One case: volume (mL) and voxels per class, seconds per stage, verdict; or the error that ended it.

    Texts are on one line. `warnings` is what the file's reader found odd; `confidence` is the mean probability of
    what was segmented; `files` are the names of what was written, `model` tells what segmented the case, `input`
    what scan it was (see `identity`).
    """

    case: str
    seconds: Mapping[str, float]
    voxels: Mapping[str, int] = field(default_factory=dict)
    volume_ml: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    confidence: float | None = None
    warnings: Sequence[str] = ()
    error: str | None = None
    files: Sequence[str] = ()
    model: str = ""
    input: str = ""

    @classmethod
    def of(
        cls,
        case: str,
        segmentation: NDArray[Any],
        *,
        class_names: Mapping[int, str],
        voxel_ml: float | None,
        seconds: Mapping[str, float],
        verdict: Verdict,
        confidence: float | None,
        warnings: Sequence[str],
        files: Sequence[str] = (),
    ) -> CaseRow:
        """The row of a label map whose voxels hold `voxel_ml` mL each; None for pictures, which have no volume."""
        values = torch.from_numpy(segmentation.ravel(order="K"))  # whose `bincount` makes no int64 of them, as numpy's
        counts = torch.bincount(values, minlength=max(class_names) + 1)
        voxels = {name: int(counts[value]) for value, name in class_names.items()}
        volumes = {name: round(count * voxel_ml, 4) for name, count in voxels.items()} if voxel_ml else {}
        told = tuple(on_one_line(each).replace(BETWEEN, "; ") for each in warnings)
        return cls(case, dict(seconds), voxels, volumes, verdict, confidence, told, files=tuple(files))

    @classmethod
    def failed(cls, case: str, error: str, seconds: Mapping[str, float]) -> CaseRow:
        """The row of a case that could not be segmented."""
        return cls(case, dict(seconds), error=on_one_line(error) or "unknown")

    def line(self) -> str:
        """The row in one line for a person."""
        if self.error is not None:
            return f"{self.case}  FAILED: {self.error}"
        sizes = {name: f"{ml:.2f} mL" for name, ml in self.volume_ml.items()}
        sizes = sizes or {name: f"{count} pixels" for name, count in self.voxels.items()}
        volumes = ", ".join(f"{name} {size}" for name, size in sizes.items())
        times = ", ".join(f"{stage} {self.seconds[stage]:.2f}" for stage in STAGES)
        notes = "".join(f"  warning: {each}" for each in self.warnings)
        judged = f"  {self.verdict}" if self.verdict else ""
        return f"{self.case}{judged}  {volumes}  [s: {times}]{notes}"

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON holds it."""
        return {
            "case": self.case,
            "verdict": self.verdict.word if self.verdict else None,
            "reasons": list(self.verdict.reasons) if self.verdict else [],
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "volume_ml": dict(self.volume_ml),
            "voxels": dict(self.voxels),
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "warnings": list(self.warnings),
            "error": self.error,
            "files": list(self.files),
            "model": self.model,
            "input": self.input,
        }

    def as_record(self) -> dict[str, Any]:
        """The row as a table holds it, by `columns`."""
        record: dict[str, Any] = {
            "case": self.case,
            "verdict": self.verdict.word if self.verdict else "",
            "reasons": BETWEEN.join(self.verdict.reasons) if self.verdict else "",
            "confidence": "" if self.confidence is None else round(self.confidence, 4),
        }
        for group in ("volume_ml", "voxels", "seconds"):
            record.update({f"{group}:{key}": value for key, value in self.as_dict()[group].items()})
        texts = {name: BETWEEN.join(getattr(self, name)) for name in ("warnings", "files")}
        record |= {**texts, "error": self.error or "", "model": self.model, "input": self.input}
        return {column: as_text(value) if isinstance(value, str) else value for column, value in record.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> CaseRow:
        """The row that a table holds.

        Raises:
            ValueError: if there is no number where one belongs.
        """
        record = {column: cell[1:] if cell.startswith("'") else cell for column, cell in record.items()}
        numbers: dict[str, dict[str, Any]] = {"volume_ml": {}, "voxels": {}, "seconds": {}}
        for column, value in record.items():
            group, colon, key = column.partition(":")
            if colon and value:
                numbers[group][key] = int(value) if group == "voxels" else float(value)
        return cls(
            case=record["case"],
            verdict=Verdict(_texts(record["reasons"])) if record["verdict"] else None,
            confidence=float(record["confidence"]) if record["confidence"] else None,
            **numbers,
            warnings=_texts(record["warnings"]),
            error=record["error"] or None,
            files=_texts(record["files"]),
            model=record["model"],
            input=record["input"],
        )


def as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, whatever a file's name begins with: behind a `'` then."""
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def _texts(cell: str) -> tuple[str, ...]:
    return tuple(filter(None, cell.split(BETWEEN)))


def columns(class_names: Sequence[str]) -> list[str]:
    """The columns of a table of rows: known before the first case, so that a row can be added at any time."""
    groups = {"volume_ml": class_names, "voxels": class_names, "seconds": STAGES}
    grouped = [f"{group}:{key}" for group, keys in groups.items() for key in keys]
    return ["case", "verdict", "reasons", "confidence", *grouped, "warnings", "error", "files", "model", "input"]
