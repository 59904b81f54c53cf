"""What a training learns from, in numbers, kept beside its weights."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from monai.transforms import Compose, LoadImaged

from medseg.inference.quality.facts import CaseFacts
from medseg.inference.quality.fingerprint import Fingerprint
from medseg.inference.scan import Scan

_log = logging.getLogger(__name__)

_MOST_CASES = 200


class Survey:
    """The `Fingerprint` of the training cases, taken in a thread while its block runs, and written beside the weights.

    The files are read by the bundle's own readers (the `LoadImaged` that its preprocessing begins with) and as they
    are: what the training makes of them, patches say, is not what users bring. Of many cases 200, evenly
    spaced, are looked at, one at a time. Leaving the block waits for it; leaving it by an error does not.

    Args:
        entries: `{"image": path or paths, "label": path or paths}` of the training cases.
        preprocessing: of the bundle.
        class_names: label value -> name.
        checkpoint: of the weights.
    """

    def __init__(
        self,
        entries: Sequence[Mapping[str, Any]],
        preprocessing: Compose,
        class_names: Mapping[int, str],
        checkpoint: Path,
    ) -> None:
        count = min(len(entries), _MOST_CASES)
        self._entries = [entries[index * len(entries) // count] for index in range(count)]
        self._read = facts_reader(preprocessing, class_names)
        self._checkpoint = checkpoint
        self._fingerprint: Fingerprint | None = None
        self._confidences: Sequence[float] = ()
        self._has_weights = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="survey", daemon=True)

    def __enter__(self) -> Survey:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ended.set()
        self._thread.join()
        if self._has_weights:
            self._write()

    def weights_saved(self, confidences: Sequence[float] = ()) -> None:
        """To be told that there are weights, or better ones, which segment the validation cases so confidently."""
        self._has_weights, self._confidences = True, list(confidences)
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """How confidently the weights segment that are there; None where there are none."""
        return {"confidences": list(self._confidences) if self._has_weights else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """To be told of the weights that are there."""
        if state["confidences"] is not None:
            self.weights_saved(state["confidences"])

    def _write(self) -> None:
        if self._fingerprint is not None:
            span = (min(self._confidences), max(self._confidences)) if self._confidences else None
            replace(self._fingerprint, confidence=span).save(self._checkpoint)

    def _run(self) -> None:
        try:
            facts = []
            for entry in self._entries:
                if self._ended.is_set():
                    return
                facts.append(self._read(entry))
            if facts:
                self._fingerprint = Fingerprint.of(facts)
        except Exception as error:  # what is for later must not end a training
            _log.warning(f"no fingerprint of the training cases: {error}")


def facts_reader(preprocessing: Compose, class_names: Mapping[int, str]) -> Callable[[Mapping[str, Any]], CaseFacts]:
    """What gives the facts of `{"image": ..., "label": ...}`, by the `LoadImaged` that `preprocessing` begins with."""
    load = Compose(list(takewhile(lambda each: isinstance(each, LoadImaged), preprocessing.transforms)))

    def read(entry: Mapping[str, Any]) -> CaseFacts:
        data = load(dict(entry))
        scan = Scan.of(data["image"])
        return CaseFacts.of(scan, np.rint(scan.whole(data["label"])[0]).astype(np.uint8), class_names)

    return read
