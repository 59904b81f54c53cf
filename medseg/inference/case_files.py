"""The files that a segmented case leaves in the output folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from medseg.bundle.metadata import class_colours, class_names, label_classes, painted_classes
from medseg.errors import ImageError, OutputError
from medseg.files import PART, together
from medseg.images import split_series, write_dicom_seg, write_labels, write_volume
from medseg.inference.batch.rows import BETWEEN
from medseg.inference.scan import Segmented
from medseg.pictures import Panel, contact_sheet, save

PROBABILITIES = "_probabilities.nii.gz"
_PREVIEW = "_preview.png"
ENDINGS = (".nii.gz", ".png", ".dcm", _PREVIEW, PROBABILITIES)  # of all that is written of a case
_LONGEST = 255 - len(f"{PART}4194304-{PROBABILITIES}")  # bytes of a case's name: file systems allow 255 in all


class Written(NamedTuple):
    """What was written of a case: the files' names, and what is told of one that could not be made."""

    names: Sequence[str]
    warnings: Sequence[str]


NOTHING_WRITTEN = Written((), ())


class CaseFiles:
    """Writes the label map of a case, its preview and, where it has them, its probabilities.

    Args:
        folder: where.
        metadata: of the bundle.
        with_probabilities: whether those are written too that a case has.
    """

    def __init__(self, folder: Path, metadata: Mapping[str, Any], *, with_probabilities: bool) -> None:
        self._folder = folder
        self._metadata = metadata
        self._with_probabilities = with_probabilities

    def check_name(self, case: str) -> None:
        """Refuse a case whose files could not be written, or would take the place of another one's.

        Raises:
            ImageError: telling what to do.
        """
        length = len(case.encode())
        if length > _LONGEST:
            raise ImageError(f"{case[:40]}...: its name has {length} bytes, over {_LONGEST}; rename the scan")
        if BETWEEN in case:
            raise ImageError(f"{case}: '{BETWEEN}' in its name separates files in results.csv; rename the scan")
        for ending in (_PREVIEW, PROBABILITIES):
            if case.casefold().endswith(ending.partition(".")[0]):
                raise ImageError(f"{case}: files of '{case.rpartition('_')[0]}' are called so; rename the scan")

    def check_place_of(self, image: str | Sequence[str]) -> None:
        """Refuse a folder that holds the scans, or true labels: a label map has their name and would take their place.

        Raises:
            OutputError: naming the folder.
        """
        folder = self._folder.resolve()
        for path in [image] if isinstance(image, str) else image:
            place = split_series(path)[0].resolve()
            if folder in (place, place.parent) and not (place.is_dir() and place != folder):
                raise OutputError(f"output_dir {self._folder}: holds {place.name} itself; choose another folder")

    def write(
        self,
        entry: Mapping[str, Any],
        found: Segmented,
        label: NDArray[Any] | None = None,
    ) -> Written:
        """Write them, all at once or, on failure, none; a scan of which no DICOM SEG can be made has the others.

        Args:
            entry: the case's name and the path of its image.
            found: what was segmented.
            label: the true one, for the preview, where it is known.

        Raises:
            OutputError: if the folder cannot be written.
        """
        name, warnings = entry["case"], []
        with together(self._folder, name) as place:
            self._preview(place(f"{name}{_PREVIEW}"), name, found, label)
            if self._with_probabilities and found.probabilities is not None:
                write_volume(place(f"{name}{PROBABILITIES}"), found.probabilities, found.scan.geometry)
            if found.scan.format == "DICOM" and isinstance(entry["image"], str):
                try:
                    self._segmentation_object(place(f"{name}.dcm"), entry["image"], found)
                except ImageError as error:  # the scan does not tell what such an object must refer to
                    place.names.remove(f"{name}.dcm")
                    warnings.append(f"no DICOM SEG: {error}")
            is_picture = found.scan.spatial_dims == 2
            write_labels(
                place(f"{name}.png" if is_picture else f"{name}.nii.gz"),
                found.labels,
                found.scan.geometry,
                classes=painted_classes(self._metadata) if is_picture else label_classes(self._metadata),
            )
        return Written(place.names, warnings)

    def _segmentation_object(self, path: Path, source: str, found: Segmented) -> None:
        write_dicom_seg(
            path,
            found.labels,
            source=source,
            classes=label_classes(self._metadata),
            algorithm_name=self._metadata["name"],
            algorithm_version=self._metadata["version"],
        )

    def _preview(self, path: Path, title: str, found: Segmented, label: NDArray[Any] | None) -> None:
        scan = found.scan
        panel = Panel(
            title=title,
            image=scan.shown(scan.brightness),
            affine=scan.geometry.affine,
            label=None if label is None else scan.shown(label),
            segmentation=scan.shown(found.labels),
        )
        colours, names = class_colours(self._metadata), class_names(self._metadata)
        save(contact_sheet([panel], colours=colours, class_names=names), path)
