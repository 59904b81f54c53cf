"""A bundle for other classes is a whole bundle, and nothing of another is overwritten."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image as Pillow
from typer.testing import CliRunner

from medseg.bundle import label_classes, painted_classes
from medseg.bundle.adapt import adapt
from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.cli.main import app
from medseg.errors import BundleError, MedsegError, OutputError
from medseg.images import read_label, write_labels
from medseg.images.palette_table import Palette
from medseg.types import LabelClass

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "medseg" / "bundle" / "metadata_schema.json"
BUNDLE = REPOSITORY / "bundles" / "colour_masks_2d"
BUNDLES = sorted(each.name for each in (REPOSITORY / "bundles").iterdir() if each.is_dir())
BUNDLES.remove("liver_lesion_ct_3d")  # whose loss is of regions
VESSELS = (LabelClass(1, "artery", (255, 0, 0)), LabelClass(2, "vein", (0, 0, 255)))


def metadata(bundle: Path) -> Any:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BUNDLES)
def test_metadata_of_every_bundle_adapted_is_valid(tmp_path: Path, name: str) -> None:
    adapt(REPOSITORY / "bundles" / name, tmp_path / "vessels_2", VESSELS)

    found = metadata(tmp_path / "vessels_2")

    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert label_classes(found) == VESSELS
    assert (found["name"], found["version"]) == ("vessels_2", "0.1.0")
    assert found["network_data_format"]["outputs"]["pred"]["num_channels"] == 3
    assert "regions" not in found


def test_bundle_that_learns_regions_of_its_own_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match="liver_lesion_ct_3d: its loss is of regions of its own classes; adapt another"
    ):
        adapt(REPOSITORY / "bundles" / "liver_lesion_ct_3d", tmp_path / "vessels_2", VESSELS)
    assert not (tmp_path / "vessels_2").exists()


def test_steps_and_layers_that_name_the_old_classes_stay_behind(tmp_path: Path) -> None:
    adapt(REPOSITORY / "bundles" / "brain_lgg_2d", tmp_path / "vessels_1", VESSELS)
    assert "tumour" not in (tmp_path / "vessels_1" / "configs" / "volumes.yaml").read_text().replace("with tumour", "")

    adapt(REPOSITORY / "bundles" / "spleen_ct_3d", tmp_path / "vessels_2", VESSELS)
    assert trained(str(tmp_path / "vessels_2"))["postprocessing_steps"] == []
    assert sorted(each.name for each in (tmp_path / "vessels_2" / "configs").glob("*.yaml")) == [
        "evaluate.yaml",
        "inference.yaml",
        "train.yaml",
    ]


def test_recipe_stays_and_weights_do_not_come_along(tmp_path: Path) -> None:
    adapt(BUNDLE, tmp_path / "mine", VESSELS)

    for file in (BUNDLE / "configs").glob("*.yaml"):
        expected = file.read_text().replace("\noutput_dir: runs/colour_masks_2d\n", "\noutput_dir: runs/mine\n")
        if file.name == "train.yaml":
            about = "# Segmentation of artery, vein: the recipe of colour_masks_2d.\n"
            expected = about + expected.partition("\n")[2]
        assert (tmp_path / "mine" / "configs" / file.name).read_text() == expected
    assert (tmp_path / "mine" / "LICENSE").read_bytes() == (BUNDLE / "LICENSE").read_bytes()
    assert not (tmp_path / "mine" / "models").exists()
    assert "1: artery" in (tmp_path / "mine" / "docs" / "README.md").read_text()
    assert find_bundle(tmp_path / "mine") == tmp_path / "mine"


@pytest.mark.parametrize(
    ("colours", "background", "coding"),
    [
        ([(255, 255, 255)], (0, 0, 0), "white"),
        ([(0, 0, 0)], (255, 255, 255), "black"),
        ([(90, 90, 90)], (0, 0, 0), "classes"),
        ([(255, 0, 0), (0, 0, 255)], (0, 0, 0), "classes"),
        ([None], (0, 0, 0), "values"),
        ([None, None], (0, 0, 0), "values"),
    ],
)
def test_labels_have_the_colours_of_the_new_classes(
    tmp_path: Path, colours: list[Any], background: tuple[int, int, int], coding: Any
) -> None:
    classes = [LabelClass(1 + index, f"c{index}", colour) for index, colour in enumerate(colours)]
    adapt(REPOSITORY / "bundles" / "microscopy_cells_2d", tmp_path / "cells", classes, background=background)
    assert trained(str(tmp_path / "cells")).config["label_reader"]["coding"] == coding
    if coding == "classes":
        seen = np.array([[background, *colours]], np.uint8)
        Pillow.fromarray(np.kron(seen, np.ones((4, 4, 1), np.uint8))).save(tmp_path / "label.png")
        import medseg  # noqa: F401  the config's expressions use it

        reader = trained(str(tmp_path / "cells")).get_parsed_content("label_reader")
        label = read_label(tmp_path / "label.png", coding=reader.coding)
        assert np.unique(label.array).tolist() == list(range(len(colours) + 1))


@pytest.mark.parametrize("name", BUNDLES)
def test_trainings_go_to_a_folder_of_the_new_bundle(tmp_path: Path, name: str) -> None:
    adapt(REPOSITORY / "bundles" / name, tmp_path / "first", VESSELS)
    adapt(tmp_path / "first", tmp_path / "second", VESSELS)
    for bundle in ("first", "second"):
        config = yaml.safe_load((tmp_path / bundle / "configs" / "train.yaml").read_text())
        assert config["output_dir"] == f"runs/{bundle}"


def test_network_of_the_adapted_bundle_has_a_channel_for_each_class(tmp_path: Path) -> None:
    adapt(BUNDLE, tmp_path / "mine", VESSELS)
    parser = trained(str(tmp_path / "mine"))
    parser.config["network_def"]["filters"] = [2, 2, 2, 2]
    assert parser.get_parsed_content("network_def").output_block.conv.conv.out_channels == 3


def test_class_without_a_colour_gets_one_of_its_own(tmp_path: Path) -> None:
    adapt(BUNDLE, tmp_path / "mine", [LabelClass(1, "artery"), LabelClass(2, "vein")])
    one, other = (each.colour for each in label_classes(metadata(tmp_path / "mine")))
    assert one and other and one != other


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(OutputError, match=r"mine is there already: delete it or choose another folder$"):
        adapt(BUNDLE, tmp_path / "mine", VESSELS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["My masks", "Vessels", "a-b", "a.b", "..", "é", "x\n"])
def test_odd_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"a bundle's folder is named in small letters, digits and _$"):
        adapt(BUNDLE, tmp_path / name, VESSELS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], r"classes have the values \[\]: expected 1, 2, 3, \.\.\."),
        ([LabelClass(2, "a")], r"classes have the values \[2\]"),
        ([LabelClass(2, "a"), LabelClass(1, "b")], r"classes have the values \[2, 1\]"),
        ([LabelClass(1, "a"), LabelClass(2, "a")], "two classes are named 'a'"),
    ],
)
def test_classes_that_no_bundle_can_have_are_refused(tmp_path: Path, classes: list[LabelClass], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        adapt(BUNDLE, tmp_path / "mine", classes)
    assert list(tmp_path.iterdir()) == []


def test_bundle_without_a_licence_can_be_adapted(tmp_path: Path) -> None:
    """As a user's own."""
    adapt(BUNDLE, tmp_path / "one", VESSELS)
    (tmp_path / "one" / "LICENSE").unlink()
    adapt(tmp_path / "one", tmp_path / "other", VESSELS)
    assert metadata(tmp_path / "other")["name"] == "other"


def test_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/mine: cannot be written: Not a directory$"):
        adapt(BUNDLE, tmp_path / "file" / "mine", VESSELS)


def test_command_takes_a_real_palette_and_labels_are_read_with_its_colours(data_dir: Path, tmp_path: Path) -> None:
    source, target = data_dir / "retina_av_rgb", tmp_path / "vessels_2d"
    words = ["adapt", "colour_masks_2d", "--palette", str(source / "palette.csv"), "-o", str(target)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"next: medseg train {target} --dataset_dir DATASET" in done.output

    expected = Palette.from_csv(source / "palette.csv").classes
    assert label_classes(metadata(target)) == expected
    assert [each.name for each in expected] == ["artery", "vein", "crossing"]
    import medseg  # noqa: F401  the config's expressions use it

    coding = trained(str(target)).get_parsed_content("label_reader").coding
    label = read_label(source / "labels" / "IM000023.png", coding=coding).array
    assert set(label.ravel().tolist()) == {0, 1, 2, 3}


DECATHLON = {"modality": {"0": "T1", "1": "FLAIR"}, "labels": {"0": "background", "1": "oedema", "2": "tumour"}}
NNUNET = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "tumour": 2, "oedema": 1}}


@pytest.mark.parametrize("given", [("oedema, tumour", "T1,FLAIR"), DECATHLON, NNUNET])
def test_command_takes_names_of_classes_and_channels_or_a_dataset_json(tmp_path: Path, given: Any) -> None:
    if isinstance(given, dict):
        (tmp_path / "dataset.json").write_text(json.dumps(given))
        words = ["--classes", str(tmp_path / "dataset.json")]
    else:
        words = ["--classes", given[0], "--channels", given[1]]
    done = CliRunner().invoke(app, ["adapt", "hippocampus_mri_3d", *words, "-o", str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output

    found = metadata(tmp_path / "mine")
    assert {each.value: each.name for each in label_classes(found)} == {1: "oedema", 2: "tumour"}
    assert found["network_data_format"]["inputs"]["image"]["channel_def"] == {"0": "T1", "1": "FLAIR"}
    parser = trained(str(tmp_path / "mine"))
    assert parser.get_parsed_content("network_def").input_block.conv1.conv.in_channels == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, "labels to ignore and regions of several values are not taken"),
        ({"background": 0, "a": 1, "ignore": 2}, "labels to ignore and regions of several values are not taken"),
        ({"background": 0, "b": 3}, r"classes have the values \[3\]: expected 1, 2, 3"),
        (None, r"dataset\.json: no dataset\.json that can be read"),
    ],
)
def test_dataset_json_of_other_labels_is_refused(tmp_path: Path, labels: Any, message: str) -> None:
    if labels is not None:
        (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))
    words = ["--classes", str(tmp_path / "dataset.json"), "-o", str(tmp_path / "mine")]
    done = CliRunner().invoke(app, ["adapt", "spleen_ct_3d", *words])
    assert isinstance(done.exception, MedsegError) and re.search(message, str(done.exception))
    assert not (tmp_path / "mine").exists()


def test_command_takes_a_palette_or_names(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["adapt", "spleen_ct_3d", "-o", str(tmp_path / "mine")])
    assert "give either --palette FILE, of labels in colours, or --classes NAMES" in str(done.exception)


def test_command_names_a_palette_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["adapt", "colour_masks_2d", "--palette", "no.csv", "-o", str(tmp_path / "x")])
    assert done.exit_code == 1
    assert "no.csv: no palette that can be read" in str(done.exception) + done.output


def test_recipe_is_yaml_without_a_class_of_its_own() -> None:
    """Classes stand in metadata.json alone, or an adapted bundle would keep those of the first."""
    text = yaml.safe_dump(yaml.safe_load((BUNDLE / "configs" / "train.yaml").read_text()))
    assert not any(each.name in text for each in label_classes(metadata(BUNDLE)))


ROWS = {"cell": (255, 0, 0), "ground": (255, 255, 255), "ink": (0, 0, 0)}


def adapted(folder: Path, lines: Sequence[str], *words: str) -> Any:
    palette = folder / "palette.csv"
    palette.write_text("\n".join(lines) + "\n")
    command = ["adapt", "colour_masks_2d", "--palette", str(palette), "-o", str(folder / "new"), *words]
    return CliRunner().invoke(app, command)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (("background", "cell", "ink"), ()),
        (("cell", "ground", "ink"), ("--background", "Ground")),
        (("cell", "ink", "ground"), ("--background", "#ffffff")),
        (("cell", "ink"), ("--background", "255,255,255")),
    ],
)
def test_labels_with_a_white_background_are_read_and_written_so(
    tmp_path: Path, order: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Wherever it stands in the palette, and where it does not."""
    rows = ROWS | {"background": ROWS["ground"]}
    done = adapted(tmp_path, ["name,r,g,b", *(f"{name},{','.join(map(str, rows[name]))}" for name in order)], *words)
    assert done.exit_code == 0, done.output + str(done.exception)
    found = metadata(tmp_path / "new")
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert [(each.value, each.name) for each in label_classes(found)] == [(1, "cell"), (2, "ink")]

    import medseg  # noqa: F401  the config's expressions use it

    coding = trained(str(tmp_path / "new")).get_parsed_content("label_reader").coding
    painted = np.array([ROWS["ground"], ROWS["cell"], ROWS["ink"]], np.uint8)[np.arange(36).reshape(6, 6) // 12]
    Pillow.fromarray(painted).save(tmp_path / "label.png")
    label = read_label(tmp_path / "label.png", coding=coding)
    assert label.array[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2]

    write_labels(tmp_path / "out.png", label.array, label.geometry, classes=painted_classes(found))
    with Pillow.open(tmp_path / "out.png") as written:
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), painted)


def test_black_background_needs_no_word_in_the_metadata(tmp_path: Path) -> None:
    adapt(BUNDLE, tmp_path / "white", VESSELS, background=(255, 255, 255))
    adapt(tmp_path / "white", tmp_path / "black", VESSELS)
    assert metadata(tmp_path / "white")["background_colour"] == [255, 255, 255]
    assert "background_colour" not in metadata(tmp_path / "black")


@pytest.mark.parametrize(
    ("lines", "words", "message"),
    [
        (
            ("value,name,r,g,b", "1,cell,255,0,0"),
            (),
            r"palette\.csv: no background, which is the value 0; give it a row",
        ),
        (("name,r,g,b", "cell,255,0,0"), (), r"palette\.csv: line 2: 'cell' would be the background"),
        (("name,r,g,b", "cell,255,0,0"), ("--background", "grond"), r"'grond': no name in it \(cell\) and no colour"),
        (("name,r,g,b", "cell,255,0,0"), ("--background", "cell"), r"palette\.csv: a background and no class; give"),
        (("name,r,g,b", "background,0,0,0"), (), r"palette\.csv: a background and no class; give each class a row"),
        (
            ("value,name,r,g,b", "0,cell,255,0,0", "1,ground,9,9,9"),
            ("--background", "ground"),
            r"palette\.csv: value 0 stands for two classes",
        ),
    ],
)
def test_palette_without_a_background_says_what_to_do(
    tmp_path: Path, lines: tuple[str, ...], words: tuple[str, ...], message: str
) -> None:
    done = adapted(tmp_path, lines, *words)
    assert done.exit_code == 1 and isinstance(done.exception, MedsegError)
    assert re.search(message, str(done.exception))
    assert not (tmp_path / "new").exists()


def test_background_that_is_no_colour_is_named() -> None:
    with pytest.raises(BundleError, match=r"^metadata\.json: class 'background': .*expected a 'colour'"):
        painted_classes(metadata(BUNDLE) | {"background_colour": [0, 300, 0]})
