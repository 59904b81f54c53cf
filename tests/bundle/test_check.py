"""Unknown ids are named, with the file they stand in and the nearest valid id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medseg.bundle.check import compare, load_config, unknown_ids
from medseg.bundle.run import run_bundle
from medseg.errors import ConfigError, user_error_in

TRAIN: dict[str, Any] = {
    "imports": ["$import medseg"],
    "bundle_root": "$medseg.bundle.root()",
    "max_epochs": 3,
    "plain": {"a": 1, "c": True},
    "net": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
    },
    "parameters": "$@net.parameters()",
    "result": [],
    "initialize": ["$medseg.bundle.check('train.yaml')"],
    "run": ["$@result.extend([@max_epochs, @bundle_root])"],
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    configs = tmp_path / "toy" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    (configs / "metadata.json").write_text('{"version": "1.0.0", "network_data_format": {}}')
    (configs / "logging.conf").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nhandlers=\n"
    )
    return configs.parent


def run(bundle: Path, layers: list[Path], overrides: dict[str, Any]) -> list[Any]:
    workflow = run_bundle(bundle, "train.yaml", layers=layers, overrides=overrides)
    result: list[Any] = workflow.parser.get_parsed_content("result")
    return result


def run_stock(bundle: Path, layers: list[Path], overrides: dict[str, Any]) -> None:
    """As `python -m monai.bundle run` does: only the bundle's own `initialize` can notice."""
    from monai.bundle import run

    files = [str(bundle / "configs" / "train.yaml"), *map(str, layers)]
    run(config_file=files if layers else files[0], **overrides)


@pytest.mark.filterwarnings("ignore")
def test_metadata_that_are_not_the_bundles_are_told(bundle: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_stock(bundle, [], {"meta_file": str(bundle / "nowhere.json")})
    assert "is --meta_file the bundle's metadata.json?" in str(user_error_in(caught.value))


def test_monais_switch_for_tracking_is_told_apart_from_what_the_user_wrote() -> None:
    with pytest.raises(ConfigError, match=r"^--tracking: is MONAI's, of other engines; medseg tracks by itself"):
        compare(TRAIN, {**TRAIN, "plain": {**TRAIN["plain"], "train_handlers": []}}, [])


def test_valid_overrides_run_and_the_bundle_knows_its_folder(bundle: Path) -> None:
    assert run(bundle, [], {"max_epochs": 7}) == [7, str(bundle.resolve())]


@pytest.mark.parametrize("runner", [run, run_stock])
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"max_epoch": 3}, "unknown override --max_epoch; did you mean 'max_epochs'?"),
        ({"net::dropot": 0.1}, "unknown override --net::dropot; did you mean 'net::dropout'?"),
        ({"net": 5}, "net: '5' cannot stand for a component; give arguments (net::NAME), a _target_ or a reference"),
        ({"plain::c": "false"}, "plain::c: 'false': write True or False"),
        ({"plain::b": 0.1}, "unknown override --plain::b; valid here: 'a', 'c'"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_unknown_override_is_named(runner: Any, bundle: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception) as caught:
        runner(bundle, [], overrides)
    assert str(user_error_in(caught.value)) == message


@pytest.mark.parametrize("runner", [run, run_stock])
@pytest.mark.filterwarnings("ignore")
def test_misspelt_key_in_a_layer_is_named_with_its_file(runner: Any, bundle: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.yaml"
    layer.write_text("max_epoch: 3\n")
    with pytest.raises(Exception) as caught:
        runner(bundle, [layer], {})
    assert str(user_error_in(caught.value)) == f"{layer}: unknown id 'max_epoch'; did you mean 'max_epochs'?"


def test_wrong_parent_is_named(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="unknown override --nett; did you mean 'net'"):
        run(bundle, [], {"nett::dropout": 0.1})


def test_unknown_component_is_named_with_its_id(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="net: no component 'UNeta'; did you mean 'UNet'"):
        run(bundle, [], {"net::_target_": "UNeta"})


def test_new_id_may_be_given_where_something_refers_to_it() -> None:
    merged = {**TRAIN, "epochs": 4, "max_epochs": "@epochs"}
    assert list(unknown_ids(TRAIN, merged)) == []
    assert [each.id for each in unknown_ids(TRAIN, {**merged, "max_epochs": 4})] == ["epochs"]


def test_reference_to_a_component_does_not_excuse_what_is_misspelt_in_it() -> None:
    merged = {**TRAIN, "net": {**TRAIN["net"], "dropot": 0.1}}
    assert [each.id for each in unknown_ids(TRAIN, merged)] == ["net::dropot"]


def test_replaced_component_may_have_its_own_arguments() -> None:
    other = {"_target_": "BasicUNet", "spatial_dims": 3, "features": [4, 4, 8, 8, 8, 4]}
    assert list(unknown_ids(TRAIN, {**TRAIN, "net": other})) == []


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n"])
def test_layer_that_is_no_config_is_named(tmp_path: Path, text: str) -> None:
    layer = tmp_path / "broken.yaml"
    layer.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml: "):
        load_config(layer)


def test_missing_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such config file"):
        load_config(tmp_path / "nothing.yaml")
