"""The fingerprint beside the weights: written, read back, and refused where it is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medseg.errors import BundleError
from medseg.inference.quality.facts import CaseFacts, ClassFacts
from medseg.inference.quality.fingerprint import Fingerprint, fingerprint_beside
from medseg.types import LabelClass

CLASSES = (LabelClass(1, "liver"), LabelClass(2, "spleen"))


def case(size: float, *, modality: str = "CT", spleen: bool = True) -> CaseFacts:
    found = {"liver": ClassFacts(1400.0, 1, ("right",), (0.8,))}
    if spleen:
        found["spleen"] = ClassFacts(size, 2, (), (0.7,))
    return CaseFacts(3, modality, (1.0, 1.0, size / 100), (300.0, 250.0, 400.0), ((-1000.0, 30.0, 600.0),), found)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    fingerprint = Fingerprint.of([case(100), case(250, modality=""), case(0, spleen=False)])
    fingerprint = replace(fingerprint, confidence=(0.9, 0.95))
    fingerprint.save(tmp_path / "model.pt")
    assert fingerprint_beside(tmp_path / "model.pt", CLASSES) == fingerprint
    assert fingerprint_beside([str(tmp_path / "model.pt"), "other.pt"], CLASSES) == fingerprint
    assert fingerprint.classes["spleen"].cases == 2 and fingerprint.classes["spleen"].size == (100, 250)
    assert fingerprint.modalities == ("CT",) and fingerprint.classes["liver"].sides == {"right": 3}


@pytest.mark.parametrize("checkpoint", [None, [], "nowhere/model.pt"])
def test_weights_without_a_fingerprint_have_none(checkpoint: str | list[str] | None) -> None:
    assert fingerprint_beside(checkpoint, CLASSES) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cases": 3}', "null"])
def test_damaged_fingerprint_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "fingerprint.json").write_text(content)
    with pytest.raises(BundleError, match=r"fingerprint\.json: no fingerprint that can be read .* delete it"):
        fingerprint_beside(tmp_path / "model.pt", CLASSES)


def test_fingerprint_of_other_classes_is_refused(tmp_path: Path) -> None:
    Fingerprint.of([case(100)]).save(tmp_path / "model.pt")
    with pytest.raises(BundleError, match="has the class 'spleen', which the bundle has not"):
        fingerprint_beside(tmp_path / "model.pt", CLASSES[:1])
