"""What a prediction run tells of every case, for a table and for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.files import write_text
from medseg.inference.quality import Verdict
from medseg.inference.stages import STAGES


@dataclass(frozen=True)
class CaseRow:
    """One case: volume (mL) and voxels per class, seconds per stage, verdict; or the error that ended it.

    `warnings` is what the file's reader found odd; `confidence` is the mean probability of what was segmented.
    """

    case: str
    seconds: Mapping[str, float]
    voxels: Mapping[str, int] = field(default_factory=dict)
    volume_ml: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    confidence: float | None = None
    warnings: Sequence[str] = ()
    error: str | None = None

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
    ) -> CaseRow:
        """The row of a label map whose voxels hold `voxel_ml` mL each; None for pictures, which have no volume."""
        counts = np.bincount(segmentation.ravel(), minlength=max(class_names) + 1)
        voxels = {name: int(counts[value]) for value, name in class_names.items()}
        volumes = {name: round(count * voxel_ml, 4) for name, count in voxels.items()} if voxel_ml else {}
        return cls(case, dict(seconds), voxels, volumes, verdict, confidence, tuple(warnings))

    @classmethod
    def failed(cls, case: str, error: str, seconds: Mapping[str, float]) -> CaseRow:
        """The row of a case that could not be segmented."""
        return cls(case, dict(seconds), error=error)

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
        }


def write_rows(rows: Sequence[CaseRow], output_dir: Path) -> None:
    """Write `cases.json` (as `CaseRow.as_dict`) and `cases.csv` (the same, a column per class and stage).

    Raises:
        OutputError: if the folder cannot be written.
    """
    records = [row.as_dict() for row in rows]
    text = io.StringIO(newline="")
    flat = [_flat(record) for record in records]
    columns = list(dict.fromkeys(column for record in flat for column in record))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(output_dir / "cases.csv", text.getvalue())
    write_text(output_dir / "cases.json", json.dumps(records, indent=2) + "\n")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {"case": record["case"], "verdict": record["verdict"] or ""}
    flat["reasons"] = "; ".join(record["reasons"])
    flat["confidence"] = "" if record["confidence"] is None else record["confidence"]
    for group in ("volume_ml", "voxels", "seconds"):
        flat.update({f"{group}:{key}": value for key, value in record[group].items()})
    flat["warnings"] = "; ".join(record["warnings"])
    flat["error"] = record["error"] or ""
    return flat
