"""What is chosen on labelled pictures and kept beside the weights, and what an evaluation of them leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.data import Dataset
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Flipd, LoadImaged, ShiftIntensityd
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from medseg.bundle.metadata import label_classes
from medseg.bundle.weights import save_weights
from medseg.errors import ConfigError, MedsegError
from medseg.evaluation import Evaluator, ImageDice, PatientDice, PixelMeasures, Tuner
from medseg.images import Geometry, read_image, write_labels
from medseg.images.reader import LabelReader, Reader
from medseg.inference import Predictor, to_source_grid
from medseg.inference.quality.facts import CaseFacts
from medseg.inference.quality.fingerprint import Fingerprint, fingerprint_beside
from medseg.inference.scan import Scan, Segmented
from medseg.inference.stages import Stages
from medseg.metrics import score_case

METADATA: dict[str, Any] = {
    "name": "nerves",
    "version": "1.0.0",
    "classes": {"nerve": {"colour": [200, 60, 200]}},
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "brightness"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "nerve"}}},
    },
}


class Brightness(nn.Module):
    """The logit of a nerve is a tenth of the brightness: grey 128 is a probability of 0.5, 120 one of 0.31."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = image.mean(dim=1, keepdim=True)
        return torch.cat([torch.zeros_like(seen), self.weight * seen], dim=1)


def weights(folder: Path) -> str:
    save_weights(Brightness(), folder / "models" / "model.pt")
    return str(folder / "models" / "model.pt")


def picture(path: Path, *spots: tuple[int, int, int, int, int], grey: int = 60) -> str:
    """Rows from, to, columns from, to, and the grey value of each spot on a ground of `grey`."""
    array = np.full((20, 30), grey, np.uint8)
    for top, bottom, left, right, value in spots:
        array[top:bottom, left:right] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path)


def pixels(path: str | Path) -> NDArray[np.uint8]:
    """Red, green and blue of `(row, column)`."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def parts(entries: Sequence[dict[str, Any]], output_dir: Path, checkpoint: str | None = None) -> dict[str, Any]:
    """What a `Predictor` takes."""
    preprocessing = Compose(
        [
            LoadImaged(keys="image", reader=Reader, ensure_channel_first=True),
            ShiftIntensityd(keys="image", offset=-128, safe=True),
            Flipd(keys="image", spatial_axis=1),
        ]
    )
    return {
        "device": "cpu",
        "dataset": Dataset(list(entries), preprocessing),
        "network": Brightness(),
        "checkpoint": checkpoint,
        "inferer": SimpleInferer(),
        "postprocessing": to_source_grid(preprocessing, metadata=METADATA, checkpoint=checkpoint),
        "metadata": METADATA,
        "output_dir": str(output_dir),
    }


def labelled(entries: Sequence[dict[str, Any]], output_dir: Path, checkpoint: str | None = None) -> dict[str, Any]:
    """What an `Evaluator` takes."""
    return parts(entries, output_dir, checkpoint) | {"tolerance_mm": 1.0, "label_reader": LabelReader("white")}


def tuned(entries: Sequence[dict[str, Any]], folder: Path, **others: Any) -> dict[str, Any]:
    """What `decision.json` holds after a choice."""
    Tuner(**labelled(entries, folder / "tuned", weights(folder)), **others).run()
    content: dict[str, Any] = json.loads((folder / "models" / "decision.json").read_text())
    return content


def predicted(image: str, folder: Path, checkpoint: str | None) -> NDArray[Any]:
    """Class values `(row, column)` in the file that a prediction writes."""
    Predictor(**parts([{"case": "new", "image": image}], folder / "out", checkpoint)).run()
    found: NDArray[Any] = read_image(folder / "out" / "new.png").array[:, :, 0].T
    return found


NERVE = (4, 10, 3, 13)
SPECKS = ((15, 16, 20, 22, 124), (18, 19, 5, 6, 124))  # brighter than a faint nerve, but two pixels and one


def cases_of(folder: Path, nerve: int, *others: tuple[int, int, int, int, int], count: int = 2) -> list[dict[str, Any]]:
    """Pictures of one nerve of this brightness, and what else is bright and no nerve."""
    return [
        {
            "case": f"case_{index}",
            "image": picture(folder / "images" / f"case_{index}.png", (*NERVE, nerve), *others),
            "truth": picture(folder / "labels" / f"case_{index}.png", (*NERVE, 255), grey=0),
        }
        for index in range(count)
    ]


def test_preprocessing_that_moves_no_pixel_needs_no_way_back(tmp_path: Path) -> None:
    """MONAI warns of an inverse of nothing, and warnings are errors here."""
    given = parts([{"case": "new", "image": picture(tmp_path / "new.png", (*NERVE, 200))}], tmp_path / "out")
    still = Compose(given["dataset"].transform.transforms[:-1])
    given["dataset"] = Dataset(given["dataset"].data, still)
    Predictor(**given | {"postprocessing": to_source_grid(still, metadata=METADATA)}).run()
    assert is_the_nerve_alone(read_image(tmp_path / "out" / "new.png").array[:, :, 0].T)


def is_the_nerve_alone(found: NDArray[Any]) -> bool:
    top, bottom, left, right = NERVE
    return bool(found[top:bottom, left:right].all()) and int(found.sum()) == (bottom - top) * (right - left)


def test_faint_nerve_is_found_at_the_threshold_chosen_and_specks_go_by_their_size(tmp_path: Path) -> None:
    entries = cases_of(tmp_path, 120, *SPECKS)  # of probability 0.31
    content = tuned(entries, tmp_path, chosen_on="fold 0")
    assert 0.01 < content["thresholds"]["nerve"] <= 1 / (1 + np.exp(0.8))
    assert content["minimum_size"] == {"nerve": 5}
    assert content["chosen_on"] == "2 cases of fold 0: nerve F-score 0.0000 -> 1.0000"
    new = picture(tmp_path / "new.png", (*NERVE, 120), (0, 1, 28, 30, 125))
    checkpoint = str(tmp_path / "models" / "model.pt")
    assert is_the_nerve_alone(predicted(new, tmp_path, checkpoint))
    assert not predicted(new, tmp_path, None).any(), "without it nothing is as likely as the background"


def test_without_sizes_only_the_threshold_is_chosen(tmp_path: Path) -> None:
    content = tuned(cases_of(tmp_path, 120, *SPECKS), tmp_path, sizes=())
    assert set(content["thresholds"]) == {"nerve"} and content["minimum_size"] == {}


@pytest.mark.parametrize(
    ("measure", "gain"), [("f_score", "F-score 0.0000 -> 0.9600"), ("dice", "mean Dice 0.6667 -> 0.6667")]
)
def test_a_nerve_of_many_pixels_outweighs_empty_pictures_only_where_pixels_are_counted(
    tmp_path: Path, measure: str, gain: str
) -> None:
    """To find the faint one is to find specks in two pictures that have none."""
    nerve, *empty = [cases_of(tmp_path / str(n), 60 if n else 120, *SPECKS[:n], count=1)[0] for n in range(3)]
    for number, each in enumerate(empty):
        picture(Path(each["truth"]), grey=0)
        each["case"] = f"empty_{number}"
    content = tuned([nerve, *empty], tmp_path, measure=measure, sizes=())
    assert content["chosen_on"] == f"3 cases: nerve {gain}"
    assert bool(content["thresholds"]) == (measure == "f_score")


def test_mean_dice_chooses_a_threshold_where_it_gains(tmp_path: Path) -> None:
    content = tuned(cases_of(tmp_path, 120), tmp_path, measure="dice", sizes=())
    assert content["chosen_on"] == "2 cases: nerve mean Dice 0.0000 -> 1.0000"


def test_confidence_beside_the_weights_becomes_that_of_the_cases_with_the_thresholds(tmp_path: Path) -> None:
    facts = CaseFacts(2, "", (), (32.0, 24.0), (), {})
    replace(Fingerprint.of([facts]), confidence=(0.9, 0.95)).save(Path(weights(tmp_path)))
    entries = cases_of(tmp_path, 120)
    assert tuned(entries, tmp_path)["thresholds"]["nerve"] < 0.5
    checkpoint = str(tmp_path / "models" / "model.pt")
    told = fingerprint_beside(checkpoint, label_classes(METADATA))
    evaluator = Evaluator(**labelled(entries, tmp_path / "out", checkpoint))
    evaluator.run()
    assert told is not None and told.confidence is not None
    assert told.confidence == pytest.approx([row.confidence for row in evaluator.rows], abs=1e-3)
    assert not any("unsure" in reason for row in evaluator.rows for reason in row.verdict.reasons)


def test_size_that_would_remove_a_nerve_is_not_chosen(tmp_path: Path) -> None:
    assert tuned(cases_of(tmp_path, 140), tmp_path)["minimum_size"] == {}


@pytest.mark.parametrize("false", [160, 200])
def test_network_that_is_sure_of_what_is_wrong_needs_a_threshold_close_to_one(tmp_path: Path, false: int) -> None:
    """Probabilities of 0.96, 0.9992 and 0.9999: closer to 1 than the half precision in which they are kept is fine."""
    tuned(cases_of(tmp_path, 220, (12, 18, 15, 25, false)), tmp_path, sizes=())
    new = picture(tmp_path / "new.png", (*NERVE, 220), (0, 2, 20, 30, false))
    assert is_the_nerve_alone(predicted(new, tmp_path, str(tmp_path / "models" / "model.pt")))


def test_without_gain_the_most_probable_class_stays(tmp_path: Path) -> None:
    content = tuned(cases_of(tmp_path, 200), tmp_path)
    assert content["thresholds"] == content["minimum_size"] == {}
    new = picture(tmp_path / "new.png", (*NERVE, 130))
    assert is_the_nerve_alone(predicted(new, tmp_path, str(tmp_path / "models" / "model.pt")))


def test_earlier_choice_does_not_bear_on_a_new_one(tmp_path: Path) -> None:
    entries = cases_of(tmp_path, 120, *SPECKS)
    first = tuned(entries, tmp_path)
    assert tuned(entries, tmp_path) == first


def test_pixels_outside_of_the_mask_do_not_bear_on_the_choice(tmp_path: Path) -> None:
    """There as much is as faint as half of the nerve that finding it would not pay, and a speck to be removed."""
    entries = cases_of(tmp_path, 160, (7, 10, 3, 13, 120), (15, 20, 0, 20, 120), (17, 18, 25, 26, 120))
    mask = picture(tmp_path / "mask.png", (0, 14, 0, 30, 255), grey=0)
    content = tuned([each | {"mask": mask} for each in entries], tmp_path)
    assert content["chosen_on"].endswith("nerve F-score 0.6667 -> 1.0000")
    assert content["minimum_size"] == {}


def test_without_weights_there_is_nothing_to_choose_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no checkpoint to choose thresholds for: use --checkpoint OUTPUT_DIR"):
        Tuner(**labelled(cases_of(tmp_path, 120), tmp_path / "out", None))


def test_choice_is_for_one_checkpoint_and_sizes_are_numbers(tmp_path: Path) -> None:
    given = labelled(cases_of(tmp_path, 120), tmp_path / "out", weights(tmp_path))
    with pytest.raises(ConfigError, match=r"^several checkpoints: thresholds are chosen for one"):
        Tuner(**given | {"checkpoint": [given["checkpoint"]] * 2})
    with pytest.raises(ConfigError, match=r"^measure 'iou': expected one of f_score, dice$"):
        Tuner(**given, measure="iou")
    for sizes in ("abc", [1.5], [-1]):
        with pytest.raises(ConfigError, match=r"^sizes .*: expected whole numbers of pixels"):
            Tuner(**given, sizes=sizes)


def test_empty_labels_choose_nothing(tmp_path: Path) -> None:
    entries = cases_of(tmp_path, 200)
    for entry in entries:
        picture(Path(entry["truth"]), grey=0)
    with pytest.raises(MedsegError, match=r"^the labels of all 2 cases are empty, so nothing was chosen$"):
        tuned(entries, tmp_path)
    assert not (tmp_path / "models" / "decision.json").exists()


def test_where_no_case_could_be_segmented_nothing_is_written(tmp_path: Path) -> None:
    (entry,) = cases_of(tmp_path, 120, count=1)
    Path(entry["image"]).write_bytes(b"no picture")
    with pytest.raises(MedsegError, match=r"^no case could be segmented, so nothing was chosen$"):
        tuned([entry], tmp_path)
    assert not (tmp_path / "models" / "decision.json").exists()


def evaluated(entries: Sequence[dict[str, Any]], folder: Path, **others: Any) -> dict[str, Any]:
    Evaluator(**labelled(entries, folder / "out"), **others).run()
    summary: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return summary


def test_mistakes_outside_of_the_mask_do_not_count(tmp_path: Path) -> None:
    """Neither what was found there nor what was missed."""
    truth = picture(tmp_path / "truth.png", (*NERVE, 255), (13, 16, 0, 5, 255), grey=0)
    entries = [each | {"truth": truth} for each in cases_of(tmp_path, 200, (12, 18, 15, 25, 200))]
    mask = picture(tmp_path / "mask.png", (0, 11, 0, 30, 255), grey=0)
    masked = [each | {"mask": mask} for each in entries]
    inside = evaluated(masked, tmp_path, measures={"pixels": PixelMeasures(), "images": ImageDice()})
    nerve = inside["measures"]["pixels"]["structures"]["nerve"]
    assert inside["mean_dice"] == nerve["f_score"]["value"] == nerve["precision"]["value"] == 1
    assert inside["measures"]["images"]["nerve"]["dice"]["value"] == 1
    with (tmp_path / "out" / "cases.csv").open(newline="") as stream:
        assert [row["dice"] for row in csv.DictReader(stream)] == ["1.0", "1.0"]
    everywhere = evaluated(entries, tmp_path, measures={"images": ImageDice()})
    expected = pytest.approx(2 * 60 / (75 + 120))
    assert everywhere["mean_dice"] == everywhere["measures"]["images"]["nerve"]["dice"]["value"] == expected


def test_every_picture_gets_one_of_its_differences_and_the_measures_their_figures(tmp_path: Path) -> None:
    summary = evaluated(cases_of(tmp_path, 200), tmp_path, measures={"pixels": PixelMeasures()})
    assert set(summary["measures"]) == {"pixels"}
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    drawn = ["pictures/case_0_difference.png", "pictures/case_1_difference.png", "pictures/roc_pr.png"]
    assert names == ["cases.csv", *drawn, "summary.json"]
    for name in drawn:
        assert pixels(tmp_path / "out" / name).std() > 0


def test_difference_picture_shows_what_was_missed_in_its_place(tmp_path: Path) -> None:
    """Rows and columns as in the file: the miss is the lower half of the nerve."""
    (entry,) = cases_of(tmp_path, 200, (7, 10, 3, 13, 60), count=1)
    evaluated([entry], tmp_path)
    array = pixels(tmp_path / "out" / "pictures" / "case_0_difference.png")
    hit, missed, ground = array[5, 5], array[8, 5], array[5, 20]
    assert (array[4:7, 3:13] == hit).all() and (array[7:10, 3:13] == missed).all()
    assert len({tuple(each.tolist()) for each in (hit, missed, ground)}) == 3


@pytest.mark.parametrize("wrong", ["truth", "observer"])
def test_value_that_is_no_class_is_named_with_its_file_and_the_other_cases_go_on(tmp_path: Path, wrong: str) -> None:
    entries = [each | {"observer": each["truth"]} for each in cases_of(tmp_path, 200)]
    odd = picture(tmp_path / "labels" / "odd.png", (*NERVE, 1), (0, 2, 0, 2, 7), (5, 6, 0, 2, 9), grey=0)
    good = picture(tmp_path / "labels" / "good.png", (*NERVE, 1), grey=0)
    entries[0] |= {"truth": good, "observer": good, wrong: odd}
    entries[1] |= {"truth": good, "observer": good}
    given = labelled(entries, tmp_path / "out") | {"label_reader": LabelReader("values")}
    with pytest.raises(
        MedsegError, match=r"^1 of 2 cases failed; the first: .*odd\.png holds the values 7, 9: expected"
    ):
        Evaluator(**given, measures={"pixels": PixelMeasures()}).run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cases"] == 1 and set(summary["failed"]) == {"case_0"}
    assert summary["measures"]["pixels"]["accuracy"]["value"] == 1


def test_patient_of_slices_of_several_shapes_ends_an_evaluation_whose_rest_is_kept(tmp_path: Path) -> None:
    entries = cases_of(tmp_path, 200, count=3)
    for name in ("image", "truth"):
        with Image.open(entries[2][name]) as whole:
            whole.crop((0, 0, 30, 15)).save(entries[2][name])
    for entry, name in zip(entries, ("a_1", "b_1", "b_2"), strict=True):
        entry["case"] = name
    given = labelled(entries, tmp_path / "out")
    with pytest.raises(
        MedsegError, match=r"patient b: slices of several shapes make no volume \(30 x 20: b_1; 30 x 15"
    ):
        Evaluator(**given, measures={"patients": PatientDice("^(.)_")}).run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["measures"]["patients"]["nerve"]["patients"] == [1]
    assert summary["cases"] == 3 and set(summary["failed"]) == {"b"}


def test_evaluation_in_which_no_case_could_be_segmented_says_so(tmp_path: Path) -> None:
    entries = cases_of(tmp_path, 200)
    for entry in entries:
        Path(entry["image"]).write_bytes(b"no picture")
    given = labelled(entries, tmp_path / "out")
    with pytest.raises(MedsegError, match=r"^2 of 2 cases failed; the first: "):
        Evaluator(**given, measures={"pixels": PixelMeasures(), "images": ImageDice()}).run()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["cases"] == 0


def test_mlflow_gets_the_numbers_and_pictures_of_an_evaluation_but_no_name_of_a_case(
    tmp_path: Path, tracking_uri: str
) -> None:
    entries = cases_of(tmp_path, 200, (7, 10, 3, 13, 60))
    for entry, name in zip(entries, ("Smith_John", "Miller_Eve"), strict=True):
        entry["case"] = name
    Image.open(entries[1]["image"]).rotate(180).save(entries[1]["image"])
    measures = {"images": ImageDice()}
    given = labelled(entries, tmp_path / "out") | {"metadata": METADATA | {"name": "evaluated"}, "measures": measures}
    Evaluator(**given, tracking=True, tracking_uri=tracking_uri, tags={"fold": "test"}).run()

    client = MlflowClient(tracking_uri=tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("evaluated").experiment_id])
    assert run.data.tags["fold"] == "test" and run.data.tags["model"].startswith("evaluated ")
    names = [item.path for item in client.list_artifacts(run.info.run_id, "difference")]
    assert names == ["difference/001.png", "difference/002.png"]
    for name, case in zip(names, ("Miller_Eve", "Smith_John"), strict=True):
        mine = (tmp_path / "out" / "pictures" / f"{case}_difference.png").read_bytes()
        assert Path(client.download_artifacts(run.info.run_id, name)).read_bytes() == mine
    dice = json.loads((tmp_path / "out" / "summary.json").read_text())["measures"]["images"]["nerve"]["dice"]
    found = [run.data.metrics[f"measures/images/nerve/dice{end}"] for end in ("", "_ci95_low", "_ci95_high")]
    assert found == [dice["value"], *dice["interval"]]
    everything = [run.to_dictionary(), *names, [item.path for item in client.list_artifacts(run.info.run_id)]]
    assert "Smith" not in str(everything) and "Miller" not in str(everything)


def test_measures_are_only_in_the_summary_where_asked_for(tmp_path: Path) -> None:
    summary = evaluated(cases_of(tmp_path, 200), tmp_path)
    assert "measures" not in summary and not (tmp_path / "out" / "pictures" / "roc_pr.png").exists()


def test_second_observer_of_real_photographs_is_measured_inside_the_field_of_view(
    data_dir: Path, tmp_path: Path
) -> None:
    folder = data_dir / "drive" / "test"
    names = sorted(path.stem[:2] for path in (folder / "labels").iterdir())[:2]
    files = [
        {
            what: str(next((folder / what).glob(f"{name}*")))
            for what in ("images", "labels", "labels_2nd_observer", "masks")
        }
        for name in names
    ]
    entries = [
        {
            "case": name,
            "image": each["images"],
            "truth": each["labels"],
            "observer": each["labels_2nd_observer"],
            "mask": each["masks"],
        }
        for name, each in zip(names, files, strict=True)
    ]
    given = labelled(entries, tmp_path / "out")
    colours = {"num_channels": 3, "channel_def": {"0": "red", "1": "green", "2": "blue"}}
    outputs = METADATA["network_data_format"]["outputs"]
    given["metadata"] = METADATA | {"network_data_format": {"inputs": {"image": colours}, "outputs": outputs}}
    Evaluator(**given, measures={"pixels": PixelMeasures()}).run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    true, second, inside = (
        np.concatenate([pixels(each[kind])[..., 0].ravel() > 127 for each in files])
        for kind in ("labels", "labels_2nd_observer", "masks")
    )
    true, second = true[inside], second[inside]
    observer = summary["measures"]["pixels"]["second_observer"]["nerve"]
    assert observer["accuracy"]["value"] == pytest.approx((true == second).mean())
    assert observer["f_score"]["value"] == pytest.approx(2 * (true & second).sum() / (true.sum() + second.sum()))


@pytest.mark.parametrize("shear", [0.0, 2.0])
def test_volume_is_measured_in_mm_along_its_own_axes_also_where_they_are_oblique(tmp_path: Path, shear: float) -> None:
    affine = np.diag([0.5, 1.0, 3.0, 1.0])
    affine[1, 2] = shear
    grid = Geometry((12, 10, 8), affine)
    label = np.zeros(grid.shape, np.uint8)
    label[2:6, 3:7, 1:3] = 1
    found = np.roll(label, 2, axis=2)
    found[1, 3, 3] = 1
    write_labels(tmp_path / "truth.nii.gz", label, grid)
    entries = [{"case": "a", "image": "none", "truth": str(tmp_path / "truth.nii.gz")}]
    evaluator = Evaluator(**labelled(entries, tmp_path / "out") | {"label_reader": None, "tolerance_mm": 6.5})
    scan = Scan(np.zeros((1, *grid.shape), np.float32), grid, 3, "NIfTI", "", ())
    evaluator.case(entries[0], Segmented(scan, found), Stages())
    evaluator.finish()
    (expected,) = score_case(
        label, found, spacing=grid.spacing, class_names={1: "nerve"}, tolerance_mm=6.5, voxel_ml=1.5 / 1000,
        axes=affine[:3, :3],
    )  # fmt: skip
    with (tmp_path / "out" / "cases.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    for name in ("dice", "hd95_mm", "surface_dice", "label_ml", "segmentation_ml"):
        assert float(row[name]) == pytest.approx(getattr(expected, name)), name
    assert float(row["label_ml"]) == pytest.approx(32 * 1.5 / 1000) != float(row["segmentation_ml"])


def test_confidences_of_all_cases_lie_in_the_range_that_is_kept(tmp_path: Path) -> None:
    facts = CaseFacts(2, "", (), (32.0, 24.0), (), {})
    replace(Fingerprint.of([facts]), confidence=(0.9, 0.95)).save(Path(weights(tmp_path)))
    entries = [
        cases_of(tmp_path / name, nerve, count=1)[0] | {"case": name} for name, nerve in (("a", 150), ("b", 135))
    ]
    tuned(entries, tmp_path)
    told = fingerprint_beside(str(tmp_path / "models" / "model.pt"), label_classes(METADATA))
    assert told is not None and told.confidence == pytest.approx(
        (1 / (1 + np.exp(-0.7)), 1 / (1 + np.exp(-2.2))), abs=1e-3
    )
