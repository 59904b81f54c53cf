"""What `docs/odd_inputs.md` says of bad and odd inputs is what medseg says: in Python and on the command line."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from monai.transforms import LoadImaged

from medseg.cli.main import main
from medseg.errors import ImageError, user_error_in
from medseg.images import read_image

DOCUMENT = Path(__file__).parents[2] / "docs" / "odd_inputs.md"


def _registry() -> ModuleType:
    spec = importlib.util.spec_from_file_location("odd_inputs", Path(__file__).with_name("odd_inputs.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["odd_inputs"] = module
    spec.loader.exec_module(module)
    return module


odd_inputs = _registry()
ROWS = re.findall(r"^\| (?!Input)(.+?) \| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
# Words of the libraries that change with their versions.
CHANGING = re.compile(r"\((?:Compressed file|CRC check|image file is|Image size|Error)[^;]*\)")


def said(text: str) -> str:
    return CHANGING.sub("(...)", text.replace("\\|", "|"))


def test_the_document_has_a_row_for_each() -> None:
    assert [words for words, _ in ROWS] == [each.words for each in odd_inputs.ODD]
    assert len(ROWS) >= 60


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[words for words, _ in ROWS])
def test_medseg_says_what_the_document_says(number: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = odd_inputs.ODD[number].make(tmp_path)
    assert said(odd_inputs.outcome(made, tmp_path)) == said(ROWS[number][1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[words for words, _ in ROWS])
def test_the_command_line_says_it_on_one_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = odd_inputs.ODD[number].make(tmp_path)
    if made.label_of is not None:
        pytest.skip("a label, which `medseg inspect` would read without its image")
    monkeypatch.setattr(sys, "argv", ["medseg", "inspect", str(made.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    if made.array is not None:
        assert not ended.value.code and printed.out and not printed.err
    else:
        several = "holds 2 series" in ROWS[number][1]  # which are listed
        assert bool(ended.value.code) is not several
        assert several or (printed.err.startswith("medseg: error: ") and printed.err.count("\n") == 1)


@pytest.mark.parametrize("words", ["cut short", "NaN", "a missing slice", "PNG cut short", "a text named .dcm"])
def test_monai_gets_the_same_error_and_no_other_reader(words: str, tmp_path: Path) -> None:
    number = next(index for index, row in enumerate(ROWS) if row[0] == words)
    made = odd_inputs.ODD[number].make(tmp_path)
    load: Any = LoadImaged("image", reader="medseg.images.reader.Reader", ensure_channel_first=True)
    with pytest.raises(Exception) as caught:
        load({"image": str(made.path)})
    mine = user_error_in(caught.value)
    assert isinstance(mine, ImageError)
    assert said(str(mine).replace(f"{tmp_path}/", "")) == said(ROWS[number][1])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = odd_inputs.nifti(tmp_path)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"a\.nii: may not be read; ask its owner for permission"):
        read_image(path)


def test_voxels_of_the_registry_are_told_apart() -> None:
    assert len(np.unique(odd_inputs.VOXELS)) == odd_inputs.VOXELS.size
