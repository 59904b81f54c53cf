"""Many cases in one folder: what is complete stays, what is not is done, and nobody's work is lost."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.bundle.run import run_bundle
from medseg.errors import ConfigError, MedsegError, OutputError
from medseg.files import together
from medseg.inference.batch.batch import SharedBatch
from medseg.inference.batch.cluster import Places
from medseg.inference.batch.identity import input_identity
from medseg.inference.batch.results import HIDDEN, Results
from medseg.inference.batch.rows import CaseRow
from medseg.inference.batch.shard import Shard
from medseg.inference.predictor import Predictor

REPOSITORY = Path(__file__).parents[2]
CLASSES = {1: "liver", 2: "left kidney"}
SECONDS = dict.fromkeys(("read", "preprocess", "network", "restore", "write"), 0.125)


def row_of(case: str, **others: Any) -> CaseRow:
    given = {"voxels": {"liver": 3, "left kidney": 0}, "volume_ml": {"liver": 0.25, "left kidney": 0.0}}
    return CaseRow(case, SECONDS, **given | {"files": (f"{case}.nii.gz",), "model": "tiny"} | others)


def batch_of(folder: Path, *cases: str, resume: bool = True, model: str = "tiny", **others: Any) -> SharedBatch:
    how: dict[str, Any] = {"class_names": CLASSES, "endings": (".nii.gz",), "input_of": lambda case: f"scan of {case}"}
    return SharedBatch(folder, cases, model=model, resume=resume, **how | others)


def complete(folder: Path, *cases: str, model: str = "tiny") -> None:
    """Do the cases as a process would."""
    batch = batch_of(folder, *cases, model=model)
    for case in cases:
        with batch.claim(case) as mine:
            assert mine
            (folder / f"{case}.nii.gz").touch()
            batch.record(row_of(case))


# As processes: killed, resumed, shared.


def check_batch(*words: str) -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "check_batch"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_batch_is_resumed_and_shared_and_ends_as_if_undisturbed() -> None:
    check_batch("--cases", "12", "--kills", "1", "--ways", "one", "two")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'medseg[ray]'")
def test_nothing_is_lost_on_a_ray_cluster_that_loses_a_node() -> None:
    check_batch("--cases", "12", "--ways", "ray")


# The table.


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        row_of("a", warnings=("no liver found; look", 'quoted, "so"')),
        row_of("b, c", voxels={"liver": 1, "left kidney": 2}, volume_ml={}),
        CaseRow.failed("d", "two\nlines \x1b[2J", {}),
        CaseRow.failed("=cmd|' -C calc'!A0", "+1", {}),
        row_of("'quoted", warnings=("-1 @ x",)),
    ]
    results = Results(tmp_path, CLASSES)
    for row in rows:
        results.append(row)
    assert list(results.rows().values()) == rows
    assert list(Results(tmp_path, CLASSES).rows().values()) == rows
    assert (tmp_path / "results.csv").read_bytes().count(b"\n") == 1 + len(rows)
    with (tmp_path / "results.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["volume_ml:liver"] for row in table] == ["0.25", "", "", "", "0.25"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in table for cell in row.values()), "formulas"


@settings(max_examples=20)
@given(cut=st.integers(1, 60))
def test_line_without_its_end_is_taken_away(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    results = Results(folder, CLASSES)
    results.append(row_of("a"))
    results.append(row_of("b"))
    content = results.path.read_bytes()
    results.path.write_bytes(content[:-cut])
    assert set(results.rows()) == {"a"} or set(Results(folder, CLASSES).rows()) == {"a"}
    results.append(row_of("c"))
    assert list(Results(folder, CLASSES).rows()) == ["a", "c"]


def test_table_that_another_process_replaced_is_read_anew(tmp_path: Path) -> None:
    mine, other = Results(tmp_path, CLASSES), Results(tmp_path, CLASSES)
    for case in "abc":
        mine.append(row_of(case))
    assert list(mine.rows()) == ["a", "b", "c"]
    other.drop([row_of("a"), row_of("b")])
    other.append(row_of("d"))
    assert list(mine.rows()) == ["c", "d"]


def test_row_that_another_process_has_just_written_stays(tmp_path: Path) -> None:
    mine, other = Results(tmp_path, CLASSES), Results(tmp_path, CLASSES)
    mine.append(CaseRow.failed("a", "damaged", SECONDS))
    outdated = mine.rows()["a"]
    other.append(row_of("a"))
    mine.drop([outdated])
    assert mine.rows() == {"a": row_of("a")}


def test_row_and_table_are_on_disk_before_anybody_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, synced = Results(tmp_path, CLASSES), set[int]()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.add(os.fstat(handle).st_ino))
    for change in (lambda: results.append(row_of("a")), lambda: results.drop([row_of("a")])):
        synced.clear()
        change()
        assert results.path.stat().st_ino in synced


def test_row_that_a_full_disk_does_not_take_is_in_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    results = Results(tmp_path, CLASSES)
    results.append(row_of("a"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        results.append(row_of("b"))
    assert list(Results(tmp_path, CLASSES).rows()) == ["a"]


def test_table_that_another_process_keeps_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(tmp_path, CLASSES)
    monkeypatch.setattr("medseg.inference.batch.results._PATIENCE_S", 0)
    with (
        FileLock(tmp_path / HIDDEN / "results.lock"),
        pytest.raises(OutputError, match=r"results\.csv: another process has kept it locked for 0 s"),
    ):
        results.append(row_of("a"))


@pytest.mark.parametrize("content", ["case,dice\na,0.5\n", "", "no table"])
def test_table_of_something_else_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(OutputError, match=r"results\.csv: is no table of this bundle's results"):
        Results(tmp_path, CLASSES)
    assert (tmp_path / "results.csv").read_text() == content


def test_damaged_line_is_named(tmp_path: Path) -> None:
    results = Results(tmp_path, CLASSES)
    results.append(row_of("a"))
    results.path.write_text(results.path.read_text() + "b,x,y\n")
    with pytest.raises(OutputError, match="the line of 'b' is damaged"):
        Results(tmp_path, CLASSES).rows()


# What is complete.


def test_case_is_complete_with_its_row_and_files(tmp_path: Path) -> None:
    complete(tmp_path, "a", "b")
    assert batch_of(tmp_path, "a", "b", "c").missing() == {"c"}


def test_case_without_its_file_is_done_anew(tmp_path: Path) -> None:
    complete(tmp_path, "a", "b")
    (tmp_path / "a.nii.gz").unlink()
    assert batch_of(tmp_path, "a", "b").missing() == {"a"}


def test_failed_case_is_done_anew(tmp_path: Path) -> None:
    complete(tmp_path, "a")
    batch_of(tmp_path, "b").record(CaseRow.failed("b", "damaged", SECONDS))
    assert batch_of(tmp_path, "a", "b").missing() == {"b"}


def test_case_of_another_model_is_done_anew(tmp_path: Path) -> None:
    complete(tmp_path, "a", model="older")
    assert batch_of(tmp_path, "a").missing() == {"a"}


def test_case_of_another_input_is_done_anew(tmp_path: Path) -> None:
    complete(tmp_path, "a", "b")
    assert batch_of(tmp_path, "a", "b", input_of={"a": "scan of a", "b": "new"}.get).missing() == {"b"}


def test_case_without_a_file_that_is_wanted_now_is_done_anew(tmp_path: Path) -> None:
    complete(tmp_path, "a")
    assert batch_of(tmp_path, "a", wanted=(".nii.gz",)).missing() == set()
    assert batch_of(tmp_path, "a", wanted=(".dcm",)).missing() == {"a"}


def test_input_is_told_by_its_files_and_not_by_their_place(tmp_path: Path) -> None:
    for patient in "ab":
        (tmp_path / patient / "dicom").mkdir(parents=True)
        for number in range(3):
            (tmp_path / patient / "dicom" / f"{number}.dcm").write_text(f"{number}")
            os.utime(tmp_path / patient / "dicom" / f"{number}.dcm", (1, 1))
    first, second = (input_identity(str(tmp_path / patient / "dicom")) for patient in "ab")
    assert first == second != ""
    (tmp_path / "b" / "dicom" / "1.dcm").write_text("7")
    os.utime(tmp_path / "b" / "dicom" / "1.dcm", (1, 1))
    assert input_identity(str(tmp_path / "b" / "dicom")) != first
    os.utime(tmp_path / "a" / "dicom" / "2.dcm", (9, 9))
    assert input_identity(str(tmp_path / "a" / "dicom")) != first
    assert input_identity(str(tmp_path / "nowhere")) == ""


def test_without_resume_all_cases_are_done_anew_and_other_cases_rows_stay(tmp_path: Path) -> None:
    complete(tmp_path, "a", "b", "c")
    batch = batch_of(tmp_path, "a", "b", resume=False)
    assert batch.missing() == {"a", "b"}
    assert set(batch.known()) == {"c"}


def test_case_begins_with_none_of_its_files(tmp_path: Path) -> None:
    complete(tmp_path, "a")
    with batch_of(tmp_path, "a", resume=False).claim("a") as mine:
        assert mine and not (tmp_path / "a.nii.gz").exists()


# Who has a case in hand.


def test_claimed_case_is_nobody_elses(tmp_path: Path) -> None:
    first, second = batch_of(tmp_path, "a", "b"), batch_of(tmp_path, "a", "b")
    with first.claim("a") as mine, second.claim("a") as theirs, second.claim("b") as other:
        assert (mine, theirs, other) == (True, False, True)
    with second.claim("a") as theirs:
        assert theirs, "it was let go without a row"


def test_case_that_another_process_has_done_is_not_done_twice(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, "a", resume=False)
    complete(tmp_path, "a")
    with batch.claim("a") as mine:
        assert not mine
    assert (tmp_path / "a.nii.gz").exists() and not batch.missing()


def test_what_a_dead_process_left_is_taken_away_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    for case in ("dead", "living"):
        (tmp_path / f".part-{case}").mkdir()
    with batch_of(tmp_path, "living").claim("living"):
        (tmp_path / ".part-living").mkdir(exist_ok=True)
        batch_of(tmp_path, "other")
        assert [path.name for path in tmp_path.glob(".part-*")] == [".part-living"]


def test_files_of_a_case_appear_together_and_in_their_order(tmp_path: Path) -> None:
    with together(tmp_path, "case") as place:
        place("preview").write_text("1")
        place("labels").write_text("2")
        assert not (tmp_path / "preview").exists()
    assert place.names == ["preview", "labels"]
    with pytest.raises(ZeroDivisionError), together(tmp_path, "case") as place:
        place("preview").write_text("half")
        raise ZeroDivisionError
    with pytest.raises(OutputError, match="cannot be written"), together(tmp_path, "case") as place:
        place("preview").write_text("new")
        place("never written")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"preview": "1", "labels": "2"}


# Shares.


@given(st.lists(st.integers()), st.integers(1, 9))
def test_shares_are_disjoint_and_together_the_whole(things: list[int], count: int) -> None:
    shares = [Shard.parse(f"{index}/{count}").of(things) for index in range(1, count + 1)]
    assert sorted(each for share in shares for each in share) == sorted(things)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "8"}, Shard(4, 8)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "5",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            Shard(3, 4),
        ),
        ({"RANK": "0", "WORLD_SIZE": "2"}, Shard(1, 2)),
    ],
)
def test_share_is_taken_from_slurm_or_torchrun(environment: Mapping[str, str], share: Shard) -> None:
    assert Shard.parse("auto", environment) == share


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/4", "expected 1/4 to 4/4"),
        ("5/4", "expected 1/4 to 4/4"),
        ("1/0", "expected 1/1 to 1/1"),
        ("quarter", "expected I/N, such as 1/4"),
        ("auto", "no task of a SLURM array nor of torchrun"),
    ],
)
def test_share_that_is_none_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Shard.parse(text, {})


# A cluster's room.


def test_there_is_an_actor_for_every_gpu_or_for_the_cores_of_the_smallest_node() -> None:
    nodes = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 6.0, "GPU": 2.0}, {"CPU": 5.0}]
    assert Places.on(nodes, use_gpus=True) == Places(6, 3, 1)
    assert Places.on(nodes, use_gpus=False) == Places(5, 5, 0)
    with pytest.raises(MedsegError, match="no node of the Ray cluster has a CPU"):
        Places.on([{"CPU": 0.0}], use_gpus=True)


# By a bundle.

Predict = Callable[..., Predictor]


@pytest.fixture
def predict(tiny_bundle: Path, tmp_path: Path) -> Predict:
    def run(*inputs: Path, **overrides: Any) -> Predictor:
        given = {"input": [str(each) for each in inputs], "output_dir": str(tmp_path / "out")}
        workflow = run_bundle(tiny_bundle, "inference.yaml", overrides=given | overrides)
        predictor: Predictor = workflow.parser.get_parsed_content("evaluator")
        return predictor

    return run


def test_resumed_run_with_other_settings_does_all_anew(predict: Predict, phantom: Path) -> None:
    scan = phantom / "images" / "case_001.nii.gz"
    largest = {"postprocessing::steps": [{"largest": ["liver"]}]}
    mirrored = {"inferer": {"_target_": "medseg.inference.Mirrored", "inferer": "$@trained.inferer", "axes": [0]}}
    each_twice = [settings for settings in ({}, largest, mirrored) for _ in range(2)]
    models = [predict(scan, resume=True, **settings).rows[0].model for settings in each_twice]
    assert models[::2] == models[1::2] and len(set(models)) == 3


def test_resumed_cascade_with_another_coarse_model_does_all_anew(
    predict: Predict, tiny_bundle: Path, phantom: Path, tmp_path: Path
) -> None:
    scan, weights = phantom / "images" / "case_001.nii.gz", tmp_path / "coarse" / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    shutil.copy(tiny_bundle / "models" / "model.pt", weights)
    coarse = {"bundle": str(tiny_bundle), "checkpoint": str(weights)}
    before = predict(scan, coarse=coarse).rows[0].model
    changed = {name: 1.01 * tensor for name, tensor in torch.load(weights, weights_only=True).items()}
    torch.save(changed, weights)
    assert predict(scan, coarse=coarse, resume=True).rows[0].model != before


def test_scan_of_the_same_name_from_elsewhere_is_no_complete_case(
    predict: Predict, phantom: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    mine, other = phantom / "images" / "case_001.nii.gz", tmp_path / "other" / "case_001.nii.gz"
    shutil.copy(phantom / "images" / "case_002.nii.gz", other)
    before = predict(mine).rows[0]
    assert predict(mine, resume=True).rows[0] == before
    assert predict(other, resume=True).rows[0].voxels != before.voxels


def test_names_that_cannot_be_written_and_scans_that_are_not_there_have_a_row_and_the_others_go_on(
    predict: Predict, phantom: Path, tmp_path: Path
) -> None:
    scan = phantom / "images" / "case_001.nii.gz"
    long, preview = tmp_path / f"{'n' * 240}.nii.gz", tmp_path / "case_001_preview.nii.gz"
    two, longest = tmp_path / "a | b.nii.gz", tmp_path / f"{'m' * 220}.nii.gz"
    latin = tmp_path / os.fsdecode(b"b\xe4r.nii.gz")
    for each in (long, preview, two, longest, latin):
        shutil.copy(scan, each)
    with pytest.raises(MedsegError, match="4 of 7 cases failed"):
        predict(scan, long, preview, two, longest, latin, tmp_path / "nowhere.nii.gz", save_probabilities=True)
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        errors = {row["case"][:10]: row["error"] for row in csv.DictReader(stream)}
    assert errors.keys() == {"case_001", "case_001_p", "n" * 10, "m" * 10, "a | b", "b\\udce4r", "nowhere"}
    assert not (errors["case_001"] or errors["m" * 10] or errors["b\\udce4r"])
    assert "separates files in results.csv" in errors["a | b"]
    assert "has 240 bytes, over 220; rename" in errors["n" * 10]
    assert "files of 'case_001' are called so" in errors["case_001_p"]
    assert "does not exist" in errors["nowhere"]


def test_folder_in_the_place_of_a_result_is_named(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    scan = phantom / "images" / "case_001.nii.gz"
    predict(scan)
    (tmp_path / "out" / "case_001.dcm").mkdir()
    with pytest.raises(OutputError, match=r"case_001\.dcm: cannot be removed \(.*\); choose another"):
        predict(scan)


def test_resumed_run_does_what_was_missing_alone(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    first, second = (phantom / "images" / f"case_{number:03d}.nii.gz" for number in (1, 2))
    predict(first)
    written = (tmp_path / "out" / "case_001.nii.gz").stat().st_mtime_ns
    rows = predict(first, second, resume=True).rows
    assert [row.case for row in rows] == ["case_001", "case_002"]
    assert (tmp_path / "out" / "case_001.nii.gz").stat().st_mtime_ns == written
    assert [each["case"] for each in json.loads((tmp_path / "out" / "results.json").read_text())] == [
        "case_001",
        "case_002",
    ]
    predict(first)
    assert (tmp_path / "out" / "case_001.nii.gz").stat().st_mtime_ns > written


def test_processes_that_would_all_do_everything_are_told() -> None:
    with pytest.raises(
        ConfigError, match="torchrun started 2 processes, and each would do all of the work; give --shard"
    ):
        Shard.parse(None, {"WORLD_SIZE": "2", "RANK": "0"})
    assert Shard.parse(None, {"WORLD_SIZE": "1"}) == Shard.parse(None, {}) == Shard(1, 1)


def test_shards_fill_one_table(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    scans = [phantom / "images" / f"case_{number:03d}.nii.gz" for number in (1, 2, 3)]
    assert [row.case for row in predict(*scans, shard="2/2").rows] == ["case_002"]
    assert [row.case for row in predict(*scans, shard="1/2").rows] == ["case_001", "case_003"]
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert sorted(row["case"] for row in csv.DictReader(stream)) == ["case_001", "case_002", "case_003"]


def test_failure_that_nobody_foresaw_is_one_cases_alone(
    predict: Predict, phantom: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = Predictor.open

    def fails(self: Predictor, entry: Mapping[str, Any], stages: Any) -> Any:
        return 1 / 0 if entry["case"] == "case_001" else opened(self, entry, stages)

    monkeypatch.setattr(Predictor, "open", fails)
    with pytest.raises(MedsegError, match=r"1 of 2 cases failed; the first: .*unexpected ZeroDivisionError"):
        predict(*(phantom / "images" / f"case_{number:03d}.nii.gz" for number in (1, 2)))
    assert (tmp_path / "out" / "case_002.nii.gz").is_file()


def test_gpu_without_enough_memory_fails_one_case_with_what_to_do(
    predict: Predict, phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(self: Predictor, opened: Any, stages: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.00 GiB")

    monkeypatch.setattr(Predictor, "segment", too_large)
    with pytest.raises(
        MedsegError, match=r"case_001\.nii\.gz: the GPU's memory did not suffice; allow less with --vram"
    ):
        predict(phantom / "images" / "case_001.nii.gz")


def test_scans_are_not_overwritten_by_their_segmentations(predict: Predict, phantom: Path) -> None:
    scans = phantom / "images"
    before = {path.name: path.read_bytes() for path in scans.iterdir()}
    with pytest.raises(OutputError, match=r"holds case_00\d.nii.gz itself"):
        predict(scans, output_dir=str(scans))
    assert {path.name: path.read_bytes() for path in scans.iterdir()} == before


@pytest.mark.parametrize("resume", [False, True])
def test_files_that_no_prediction_made_are_not_overwritten(
    predict: Predict, phantom: Path, tmp_path: Path, resume: bool
) -> None:
    folder = shutil.copytree(phantom / "labels", tmp_path / "labels")
    with pytest.raises(OutputError, match=r"case_001\.nii\.gz: is there already, and no results\.csv beside it"):
        predict(phantom / "images" / "case_001.nii.gz", output_dir=str(folder), resume=resume)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (phantom / "labels").iterdir()
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"engine": "spark"}, "engine 'spark': use one of local, ray"),
        ({"resume": "false"}, "resume: 'false': write True or False"),
    ],
)
def test_value_that_is_none_is_told(predict: Predict, phantom: Path, overrides: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        predict(phantom / "images", **overrides)
