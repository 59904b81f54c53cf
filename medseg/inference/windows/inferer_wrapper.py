"""An inferer that has another one do the windows."""

from __future__ import annotations

from monai.inferers import Inferer


class InfererWrapper(Inferer):
    """An inferer that changes what another one sees or says; what is asked about memory, that one answers.

    Args:
        inferer: such as `SlidingWindow`.
    """

    def __init__(self, inferer: Inferer) -> None:
        super().__init__()
        self._inferer = inferer

    @property
    def memory(self) -> float | None:
        """Bytes that windows may take, where the inferer has windows; see `SlidingWindow`."""
        found: float | None = getattr(self._inferer, "memory", None)
        return found

    @memory.setter
    def memory(self, value: float | None) -> None:
        if hasattr(self._inferer, "memory"):
            self._inferer.memory = value

    @property
    def needed(self) -> float | None:
        """Bytes that windows are forecast to take; see `SlidingWindow`."""
        found: float | None = getattr(self._inferer, "needed", None)
        return found

    @property
    def cuts_slices(self) -> bool:
        """Whether the network sees slices of the image; see `Slices`."""
        return bool(getattr(self._inferer, "cuts_slices", False))
