"""One process's share of many cases."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from medseg.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Share `index` (from 1) of `count`.

    Raises:
        ConfigError: if there is no such share.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            most = max(1, self.count)
            raise ConfigError(f"shard {self.index}/{self.count}: expected 1/{most} to {most}/{most}")

    @classmethod
    def parse(cls, text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
        """The share meant by `2/8`, by `auto`, or, the whole, by None.

        `auto` takes the place of this process in a SLURM array (`SLURM_ARRAY_TASK_ID`), else under torchrun
        (`RANK` of `WORLD_SIZE`).

        Raises:
            ConfigError: if it cannot be understood, `auto` finds neither, or several processes would all be given
                the whole.
        """
        if text is None:
            if environment.get("WORLD_SIZE", "1") != "1":
                raise ConfigError(
                    f"torchrun started {environment['WORLD_SIZE']} processes, and each would do all of the work; "
                    "give --shard auto to a prediction; measure in one process"
                )
            return cls(1, 1)
        if text == "auto":
            return cls._from(environment)
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(text))
        if match is None:
            raise ConfigError(f"shard '{text}': expected I/N, such as 1/4 for the first of four, or auto")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def _from(cls, environment: Mapping[str, str]) -> Shard:
        def number(name: str, default: int | None = None) -> int:
            return int(environment.get(name, default))  # type: ignore[arg-type]

        try:
            if "SLURM_ARRAY_TASK_ID" in environment:
                task, first = number("SLURM_ARRAY_TASK_ID"), number("SLURM_ARRAY_TASK_MIN")
                step = max(1, number("SLURM_ARRAY_TASK_STEP", 1))
                return cls((task - first) // step + 1, number("SLURM_ARRAY_TASK_COUNT"))
            if "WORLD_SIZE" in environment:
                return cls(number("RANK") + 1, number("WORLD_SIZE"))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"shard 'auto': SLURM's or torchrun's variables are incomplete ({error})") from error
        raise ConfigError("shard 'auto': this is no task of a SLURM array nor of torchrun; give I/N, such as 1/4")

    def of(self, things: Sequence[T]) -> list[T]:
        """Every `count`-th thing: the shares of all are disjoint and together the whole."""
        return list(things[self.index - 1 :: self.count])
