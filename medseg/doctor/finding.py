"""What a check of the machine reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, on one line, and the mend where something is amiss.

    `broken` says that medseg cannot work until it is mended.
    """

    name: str
    value: str
    mend: str | None = None
    broken: bool = False

    @property
    def amiss(self) -> bool:
        """Whether there is something to mend."""
        return self.mend is not None
