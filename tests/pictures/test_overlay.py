"""The contact sheet, as pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medseg.errors import OutputError
from medseg.pictures import Panel, contact_sheet, save

GREEN, RED = (0, 255, 0), (255, 0, 0)
COLOURS = {1: GREEN, 2: RED}
NAMES = {0: "background", 1: "liver", 2: "spleen"}


def pixels(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture - np.array(colour)).max(axis=-1) < 60).sum())


def volume_panel(*, label: bool = True, segmentation: bool = False, value: int = 1) -> Panel:
    shape = (20, 24, 8)
    mask = np.zeros(shape, np.uint8)
    mask[5:12, 6:15, 2:6] = value
    return Panel(
        "case 1",
        np.random.default_rng(0).normal(size=shape),
        np.diag([2.0, 2.0, 5.0, 1.0]),
        label=mask if label else None,
        segmentation=mask if segmentation else None,
    )


def texts(figure: Figure) -> list[str]:
    own = [text.get_text() for text in figure.texts]
    legend = [text.get_text() for each in figure.legends for text in each.get_texts()]
    return own + legend


def test_a_class_is_outlined_in_its_colour() -> None:
    with_label = contact_sheet([volume_panel()], colours=COLOURS, class_names=NAMES)
    without = contact_sheet([volume_panel(label=False)], colours=COLOURS, class_names=NAMES)

    assert count(pixels(with_label), GREEN) > 200
    assert count(pixels(with_label), RED) == 0
    assert count(pixels(without), GREEN) == 0


def test_the_segmentation_is_dashed_and_the_label_solid() -> None:
    label = contact_sheet([volume_panel()], colours=COLOURS, class_names=NAMES)
    segmentation = contact_sheet([volume_panel(label=False, segmentation=True)], colours=COLOURS, class_names=NAMES)

    assert 0 < count(pixels(segmentation), GREEN) < 0.9 * count(pixels(label), GREEN)


def test_legend_and_titles_name_what_is_shown_and_nothing_else() -> None:
    figure = contact_sheet([volume_panel(segmentation=True)], colours=COLOURS, class_names=NAMES, title="epoch $3")

    assert texts(figure) == ["epoch $3", "case 1", "liver", "label", "segmentation"]
    pixels(figure)  # a lone dollar sign must not be read as mathematics


def test_values_without_a_name_are_not_drawn() -> None:
    figure = contact_sheet([volume_panel(value=9)], colours=COLOURS, class_names=NAMES)

    assert texts(figure) == ["case 1", "label"]


def test_a_sheet_has_a_row_per_case_and_is_never_wider_than_a_screen() -> None:
    rows = [volume_panel(), volume_panel(), Panel("photo", np.zeros((400, 100)), np.eye(4))]

    one = contact_sheet(rows[:1], colours=COLOURS, class_names=NAMES)
    three = contact_sheet(rows, colours=COLOURS, class_names=NAMES)

    assert (len(one.axes), len(three.axes)) == (3, 7)
    assert pixels(three).shape[0] > 2 * pixels(one).shape[0]
    assert pixels(three).shape[1] <= 1600


def test_a_legend_of_many_long_names_stays_inside_the_figure() -> None:
    label = np.resize(np.arange(1, 25), (20, 20))
    names = {value: f"a rather long name of a vessel {value}" for value in range(1, 25)}
    panel = Panel("vessels", np.zeros((20, 20)), np.eye(4), label=label)

    figure = contact_sheet([panel], colours=dict.fromkeys(names, GREEN), class_names=names)

    pixels(figure)
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    axes_bottom = figure.axes[0].get_window_extent().y0
    assert legend.x1 <= whole.x1
    assert legend.y1 <= axes_bottom + 1


def test_millimetres_are_equally_long_in_all_views() -> None:
    figure = contact_sheet([volume_panel()], colours=COLOURS, class_names=NAMES)
    width, height = figure.get_size_inches()

    axial, coronal, sagittal = (axes.get_position() for axes in figure.axes)

    # The volume is 40 mm from left to right, 48 mm from front to back and 40 mm high.
    inches_per_mm = axial.width * width / 40
    assert axial.height * height == pytest.approx(48 * inches_per_mm)
    assert coronal.height * height == pytest.approx(40 * inches_per_mm)
    assert sagittal.width * width == pytest.approx(48 * inches_per_mm)


def test_what_touches_the_edge_of_the_image_is_outlined_there_too() -> None:
    everywhere = Panel("full", np.zeros((30, 30)), np.eye(4), label=np.ones((30, 30), np.uint8))

    assert count(pixels(contact_sheet([everywhere], colours=COLOURS, class_names=NAMES)), GREEN) > 500


def test_a_class_without_a_colour_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"class 2 \(spleen\) has no colour"):
        contact_sheet([volume_panel()], colours={1: GREEN}, class_names=NAMES)
    with pytest.raises(ValueError, match="one panel or more"):
        contact_sheet([], colours=COLOURS, class_names=NAMES)


def test_save_writes_a_png_and_nothing_beside_it(tmp_path: Path) -> None:
    figure = contact_sheet([volume_panel()], colours=COLOURS, class_names=NAMES)

    save(figure, tmp_path / "sheet.png")

    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_save_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = contact_sheet([volume_panel()], colours=COLOURS, class_names=NAMES)
    target = tmp_path / "sheet.png"
    target.write_bytes(b"old")

    def full_disk(path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save(figure, target)

    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
