"""Nothing that names a folder of a study leaves the machine, and nothing that MLflow refuses is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from medseg.tracking.names import LOCAL_PATH, metric_name, public_config, public_params, public_text


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Hans Müller").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_password_in_an_address_stays_here() -> None:
    params = public_params({"tracking_uri": "http://me:S3cret@host:5000", "a": {"b": ["postgresql://me:S3@cret@db/x"]}})
    assert params == {"tracking_uri": "http://host:5000", "a/b": '["postgresql://db/x"]'}


def test_flattens_a_config() -> None:
    config = {
        "train": {"lr": 3e-4, "amp": True, "seed": None, "name": "liver"},
        "patch_size": [96, 96, 64],
        "transforms": [{"_target_": "LoadImaged", "keys": ["image", "label"]}, "@flip"],
        "nothing": {},
    }
    assert public_params(config) == {
        "train/lr": "0.0003",
        "train/amp": "true",
        "train/seed": "null",
        "train/name": "liver",
        "patch_size": "[96, 96, 64]",
        "transforms/0/_target_": "LoadImaged",
        "transforms/0/keys": '["image", "label"]',
        "transforms/1": "@flip",
        "nothing": "{}",
    }


def test_may_be_applied_twice() -> None:
    once = public_config({"dataset_dir": "/data/x", "train": {"lr": [1, {"a": "b"}]}})
    assert public_config(once) == once


@pytest.mark.parametrize(
    "value",
    [
        "/data/Hans Müller",
        "~/studies/mueller",
        "~anna/studies",
        "C:\\Studies\\Mueller",
        "D:/studies/mueller",
        "\\\\server\\share",
        "file:///data/mueller",
        "Hans Müller",
        "$torch.load('/data/mueller/model.pt')",
        "$@train + ['/data/mueller']",
        Path("mueller"),
        Path("/data"),
    ],
)
def test_hides_what_is_a_local_path(value: object) -> None:
    assert public_config({"train": {"anything": [value, 1]}}) == {"train": {"anything": [LOCAL_PATH, 1]}}


@pytest.mark.parametrize("key", ["dataset_dir", "output_dir", "input", "ckpt_path", "data_root", "log_file"])
def test_hides_what_such_a_key_holds_and_all_that_lies_under_it(key: str) -> None:
    config = {
        "later": {"a": "runs/mueller/model.pt", "b": "$'runs/mueller/' + x", "c": "mueller"},
        key: "runs/mueller/",
    }
    assert public_config(config) == {
        "later": {"a": LOCAL_PATH, "b": LOCAL_PATH, "c": "mueller"},
        key: LOCAL_PATH,
    }


@pytest.mark.parametrize(
    "value",
    [
        "liver",
        "http://server:5000/path",
        "monai.networks.nets.DynUNet",
        "$@lr / 2",
        "$(1+2)//2",
        "@data::key",
        "cuda:0",
        "a/b",
        "",
        "x" * 5000,
        "nul\0byte",
    ],
)
def test_leaves_the_rest_alone(value: str) -> None:
    config = {"dataset_dir": "data", "model": value}
    assert public_config(config)["model"] == value


def test_an_expression_for_a_folder_stays_readable() -> None:
    assert public_config({"ckpt_dir": "$@output_dir + '/models'"})["ckpt_dir"] == LOCAL_PATH
    assert public_config({"ckpt_dir": "@output_dir"})["ckpt_dir"] == "@output_dir"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("cannot read /data/Hans Müller/ct.nii.gz: truncated", "cannot read <local path>: truncated"),
        ("'/data/x y' is no dataset", "'<local path>' is no dataset"),
        ("images/mueller.nii.gz: zero bytes", "<local path>: zero bytes"),
        ("stopped in epoch 12/20", "stopped in epoch 12/20"),
        ("Best mean Dice **0.91** at epoch 18.", "Best mean Dice **0.91** at epoch 18."),
        ("D:\\Studies\\Hans Müller\\a.nii: bad", "<local path>: bad"),
    ],
)
def test_takes_paths_out_of_a_sentence(text: str, public: str) -> None:
    assert public_text(text) == public


def test_names_of_metrics() -> None:
    assert metric_name("dice", "liver") == "dice/liver"
    assert metric_name("dice", "oedema/necrosis (T1+T2)") == "dice/oedema_necrosis _T1_T2_"
    assert metric_name("dice", "größe") == "dice/größe"
    assert metric_name("dice", "..") == "dice/_"


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=4))
def test_mlflow_takes_every_name(parts: list[str]) -> None:
    _validate_metric_name(metric_name(*parts))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.text() | st.floats(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8),
        max_size=4,
    )
)
def test_mlflow_takes_every_parameter(config: dict[str, object]) -> None:
    for key, value in public_params(config).items():
        _validate_param(key, value)
