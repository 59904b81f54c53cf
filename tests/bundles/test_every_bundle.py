"""What holds for every bundle of this project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.data import MetaTensor
from monai.transforms import Compose, RandSimulateLowResolutiond, Spacingd

from medseg import __version__
from medseg.bundle import class_names, load_config, trained
from medseg.bundle.pack import pack
from medseg.bundle.run import find_layer, run_bundle
from medseg.bundle.weights import save_weights

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "medseg" / "bundle" / "metadata_schema.json"
BUNDLES = sorted(path.parent.parent for path in REPOSITORY.glob("bundles/*/configs/metadata.json"))
USER_IDS = {
    "train.yaml": {"dataset_dir", "output_dir", "max_epochs", "fold", "seed", "device"},
    "evaluate.yaml": {"dataset_dir", "output_dir", "fold", "device", "checkpoint"},
    "inference.yaml": {"input", "output_dir", "device", "checkpoint"},
}

DATASETS = {
    "hippocampus_mri_3d": "hippocampus",
    "retina_vessels_2d": "drive",
    "microscopy_cells_2d": "wbc_1",
    "colour_masks_2d": "blood_cells_rgb",
    "em_membranes_2d": "em_membrane",
    "brain_lgg_2d": "brain_lgg",
    "ultrasound_nerve_2d": "us_busi",
    "spleen_ct_3d": "ct_multiorgan",
    "liver_lesion_ct_3d": "ct_multiorgan",
}
LAYERS = {"spleen_ct_3d": ["multiorgan"], "liver_lesion_ct_3d": ["multiorgan"]}

every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


@every_bundle
def test_metadata_follows_the_schema_and_names_this_version(bundle: Path) -> None:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))
    assert metadata["name"] == bundle.name
    assert metadata["required_packages_version"]["medseg"] == __version__
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["num_channels"] == len(outputs["channel_def"]) == len(class_names(metadata)) + 1


@every_bundle
def test_resampling_is_done_in_float32(bundle: Path) -> None:
    """MONAI's `Spacingd` takes `dtype: null` for float64, which costs a large CT half of its preprocessing."""
    image = MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.diag(torch.tensor([0.7, 0.7, 3.0, 1.0])))
    for transform in trained(str(bundle)).preprocessing.transforms:
        if isinstance(transform, Spacingd):
            done = transform({"image": image})["image"].applied_operations[-1]
            assert done["extra_info"]["dtype"] == "float32"


@every_bundle
@pytest.mark.filterwarnings("ignore")
def test_monai_verifies_metadata_and_network_without_a_network_connection(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = str(bundle / "configs" / "metadata.json")
    caplog.set_level("INFO", logger="monai.bundle.scripts")  # which a run of a bundle before this quietens
    verify_metadata(meta_file=metadata, filepath=str(SCHEMA))
    assert "metadata is verified with no error" in caplog.text
    verify_net_in_out(
        net_id="network_def", meta_file=metadata, config_file=str(bundle / "configs" / "inference.yaml"), device="cpu"
    )
    assert "data shape of network is verified with no error" in caplog.text


def test_expressions_find_what_they_name_in_a_process_that_has_imported_nothing_else() -> None:
    configs = [
        path.read_text() for path in (*REPOSITORY.glob("bundles/*/configs/*.yaml"), *REPOSITORY.glob("configs/*"))
    ]
    expressions = [each for text in configs for each in re.findall(r"\$.*", text)]
    names = sorted({name for each in expressions for name in re.findall(r"medseg(?:\.\w+)+", each)})
    assert "medseg.bundle.trained" in names
    lookups = "\n".join(["import medseg", *names])
    done = subprocess.run([sys.executable, "-c", lookups], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@every_bundle
@pytest.mark.parametrize("config", USER_IDS)
def test_user_facing_ids_are_the_same_in_every_bundle(bundle: Path, config: str) -> None:
    assert USER_IDS[config] <= set(load_config(bundle / "configs" / config))


def test_predictions_are_configured_by_one_text_and_evaluations_differ_in_what_they_measure() -> None:
    assert len({path.read_text() for path in REPOSITORY.glob("bundles/*/configs/inference.yaml")}) == 1
    evaluations = [load_config(path) for path in REPOSITORY.glob("bundles/*/configs/evaluate.yaml")]
    own = ("measures", "surface_tolerance_mm", "tuner")
    assert all(id in each for each in evaluations for id in own)
    shared = [{id: value for id, value in each.items() if id not in own} for each in evaluations]
    assert all(each == shared[0] for each in shared)


@pytest.fixture
def dataset_of(phantom: Path, request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """A bundle's own kind of data: made up where it was trained on that, real elsewhere."""

    def find(bundle: Path) -> Path:
        if bundle.name not in DATASETS:
            return phantom
        data: Path = request.getfixturevalue("data_dir")
        return data / DATASETS[bundle.name]

    return find


@every_bundle
@pytest.mark.filterwarnings("ignore")
def test_hosts_find_monais_properties_where_they_look(
    bundle: Path, dataset_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Built, not only present: as MONAI Label, MONAI Deploy or NVFlare take a bundle apart."""
    dataset = dataset_of(bundle)
    given: dict[str, Any] = {"output_dir": str(tmp_path), "device": "cpu"}
    layers = [str(bundle / "configs" / f"{name}.yaml") for name in LAYERS.get(bundle.name, [])]
    train = ConfigWorkflow(
        [str(bundle / "configs" / "train.yaml"), *layers],
        workflow_type="train",
        dataset_dir=str(dataset),
        max_cases=6,
        **given,
    )
    train.initialize()
    assert train.check_properties() == []
    assert train.bundle_root == str(bundle)
    inference = ConfigWorkflow(
        str(bundle / "configs" / "inference.yaml"),
        workflow_type="infer",
        input=str(dataset / "training/images" if (dataset / "training").is_dir() else dataset / "images"),
        checkpoint=None,
        **given,
    )
    inference.initialize()
    assert inference.check_properties() == []


@every_bundle
@pytest.mark.filterwarnings("ignore")
def test_smoke_layer_trains_and_the_weights_are_measured_and_used(
    bundle: Path, dataset_of: Callable[[Path], Path], tracking_uri: str, tmp_path: Path
) -> None:
    dataset = dataset_of(bundle)
    given: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
    small = {"patch_size": [32, 32, 32]} if bundle.name.endswith("ct_3d") else {}
    workflow = run_bundle(
        bundle,
        "train.yaml",
        layers=[find_layer(name, bundle) for name in (*LAYERS.get(bundle.name, ()), "smoke")],
        overrides={
            **given, **small, "dataset_dir": str(dataset), "output_dir": str(tmp_path / "run"),
            "tracking_uri": tracking_uri, "max_epochs": 1, "train::trainer::epoch_length": 1, "max_cases": 6,
        },
    )  # fmt: skip
    checkpoint = workflow.parser.get_parsed_content("train::trainer").result()["checkpoint"]
    measured = run_bundle(
        bundle,
        "evaluate.yaml",
        overrides={
            **given, "dataset_dir": str(dataset), "output_dir": str(tmp_path / "measured"),
            "checkpoint": checkpoint, "max_cases": 1, "tracking_uri": tracking_uri,
        },
    )  # fmt: skip
    summary = measured.parser.get_parsed_content("evaluator").evaluation.summary()
    assert summary["cases"] == 1 and not summary["failed"]
    if bundle.name.endswith("_2d"):
        assert "accuracy" in summary["measures"]["pixels"]


@every_bundle
def test_bundle_is_packed_whole(bundle: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    save_weights(trained(str(bundle)).get_parsed_content("network_def"), weights)
    inside = {name.partition("/")[2] for name in pack(bundle, tmp_path / "out.zip", checkpoint=weights)}
    assert {"configs/train.yaml", "configs/metadata.json", "models/model.pt", "LICENSE", "docs/README.md"} <= inside


@every_bundle
def test_card_tells_what_goes_in_and_comes_out(bundle: Path) -> None:
    card = (bundle / "docs" / "README.md").read_text()
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert card.startswith(f"# {bundle.name}\n")
    for name in class_names(metadata).values():
        assert name in card


INTENSITIES = ("monai.transforms.intensity.dictionary", "medseg.data.colour")


@every_bundle
def test_augmentation_moves_the_label_with_the_image_and_keeps_its_values(bundle: Path) -> None:
    transforms = trained(str(bundle)).get_parsed_content("train::augmentation")
    alone = [each for each in transforms if "image" in each.keys and "label" not in each.keys]
    for each in alone:
        assert type(each).__module__ in INTENSITIES or isinstance(each, RandSimulateLowResolutiond), each
    metadata = load_config(bundle / "configs" / "metadata.json")
    shape = (128,) * len(metadata["network_data_format"]["inputs"]["image"]["spatial_shape"])
    label = torch.zeros(1, *shape)
    label[:, 20:100, 40:110] = len(class_names(metadata))  # whose edges lie where no flip brings them back
    moved = Compose([each for each in transforms if each not in alone]).set_random_state(0)
    for _ in range(4):
        done = moved({"image": label.clone(), "label": label.clone()})
        for patch in done if isinstance(done, list) else [done]:
            assert set(patch["label"][0].unique().tolist()) <= {0, len(class_names(metadata))}
            assert (patch["image"][0] - patch["label"][0]).abs().gt(0.5 * label.max()).float().mean() < 0.02


@every_bundle
def test_evaluation_is_by_itself_of_the_validation_cases_of_the_fold_that_was_trained(
    bundle: Path, tmp_path: Path
) -> None:
    of_run = load_config(bundle / "configs" / "train.yaml") | {"fold": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(of_run))
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "evaluate.yaml"))
    parser["bundle_root"], parser["checkpoint"] = str(bundle), str(tmp_path / "models" / "model.pt")
    assert parser.get_parsed_content("fold") == 3 and parser["side"] == "validation"
