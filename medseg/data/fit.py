"""Whether a dataset's images are of the kind that a bundle's network takes, asked before a training starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.bundle.metadata import image_dims, image_format
from medseg.data.datalist import Case
from medseg.errors import DatasetError
from medseg.images import Geometry, count_channels, read_image

if TYPE_CHECKING:  # importing MONAI takes seconds
    from monai.inferers import Inferer
    from monai.transforms import Compose

_VOLUMES = "volumes"  # the layer with which a bundle of pictures trains on volumes


@dataclass(frozen=True)
class Taken:
    """The images that a bundle takes, once they are preprocessed.

    Attributes:
        dims: 2 for pictures, 3 for volumes.
        channels: how many.
        channel_names: of each.
        by_slices: whether volumes are cut for a network of pictures.
        has_layer: whether the bundle has a layer that does so.
    """

    dims: int
    channels: int
    channel_names: tuple[str, ...]
    by_slices: bool
    has_layer: bool

    @classmethod
    def of(cls, metadata: Mapping[str, Any], inferer: Inferer | None, bundle_root: str | None) -> Taken:
        """What a bundle's metadata tell, and its inferer, which may cut slices."""
        takes = image_format(metadata)
        layer = Path(bundle_root or "") / "configs" / f"{_VOLUMES}.yaml"
        names = tuple(takes["channel_def"].values())
        dims = image_dims(metadata, inferer) or 3
        by_slices = dims != image_dims(metadata)
        return cls(dims, takes["num_channels"], names, by_slices, bundle_root is not None and layer.is_file())

    def problem(self, dims: int, channels: int) -> str | None:
        """What is wrong with an image, and what to do; None where nothing is."""
        if dims != self.dims:
            return f"has {dims} dimensions; this bundle takes images of {self.dims}: {self._instead()}"
        if channels != self.channels:
            names = ", ".join(self.channel_names)
            missing = "give them in one file, or as CASE_0000, CASE_0001 and so on"
            fewer = missing if channels < self.channels else "leave the others out"
            instead = f"{fewer}, or make a bundle for yours by `medseg adapt --channels`"
            return f"has {_counted(channels)}; this bundle takes {self.channels} ({names}): {instead}"
        return None

    def _instead(self) -> str:
        if self.dims == 2:
            return f"add --layer {_VOLUMES}" if self.has_layer else "give single slices, or take a bundle for volumes"
        return f"leave the layer {_VOLUMES} out" if self.by_slices else "give volumes, or take a bundle for pictures"


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


@dataclass(frozen=True)
class Kind:
    """What every image of a dataset is to be.

    Attributes:
        dims: 2 for pictures, 3 for volumes.
        channels: in the first file of the first case; None where that is a volume whose header does not tell: each
            would have to be read whole.
        taken: what the bundle takes.
        preprocessing: of the bundle, which may give pictures of several kinds as many channels.
    """

    dims: int
    channels: int | None
    taken: Taken
    preprocessing: Compose = field(repr=False, compare=False)

    def takes_pixel_sizes(self) -> bool:
        """Whether pictures are resampled by the size of their pixels, which their labels' files must tell then too."""
        from monai.transforms import Spacingd

        return self.dims == 2 and any(isinstance(each, Spacingd) for each in self.preprocessing.flatten().transforms)

    def problem(self, case: Case, grid: Geometry) -> str | None:
        """In what a case's image, which lies on `grid`, differs from the others, and what to do; else None.

        Raises:
            ImageError: if it cannot be read.
        """
        path = case.images[0]
        dims = self._dims(path, grid)
        if dims != self.dims:
            return f"{path}: has {dims} dimensions, and other cases have {self.dims}; leave it out"
        channels = _channels_told(path, dims)
        if channels is None or self.channels is None or channels == self.channels:
            return None
        try:
            ready = self.preprocessing({"image": _image_paths(case)})["image"]
        except Exception:
            ready = None
        if ready is not None and len(ready) == self.taken.channels:
            return None
        return f"{path}: has {_counted(channels)}, and other cases have {self.channels}; convert it"

    def _dims(self, path: Path, grid: Geometry) -> int:
        slices = grid.shape[2]
        if self.dims == 2 and slices > 1:
            return 3
        # Only a volume of one slice, of which there are few, must be read to be told from a picture.
        return read_image(path).spatial_dims if self.dims == 3 and slices == 1 else self.dims


def channels_in(path: Path) -> int:
    """How many an image's file holds.

    Raises:
        ImageError: if it cannot be read.
    """
    array = read_image(path).array
    return 1 if array.ndim == 3 else int(array.shape[3])


def _channels_told(path: Path, dims: int) -> int | None:
    """Of a picture, which is read for it; of a volume only where its header tells."""
    return channels_in(path) if dims == 2 else count_channels(path)


def _image_paths(case: Case) -> str | list[str]:
    paths = [str(path) for path in case.images]
    return paths if len(paths) > 1 else paths[0]


def check_fit(case: Case, preprocessing: Compose, taken: Taken) -> Kind | None:
    """Read and preprocess one case's image, and raise where the network could not take it.

    Returns:
        What the other images are to be; None if its files cannot be read, of which `check_cases` tells more.

    Raises:
        DatasetError: naming the file, what it has, what the bundle takes and what to do.
    """
    try:
        image = preprocessing({"image": _image_paths(case)}, end=1)["image"]
        dims = image.ndim - 1
        kind = Kind(dims, _channels_told(case.images[0], dims), taken, preprocessing)
    except Exception:
        return None
    try:
        ready = preprocessing({"image": image}, start=1)["image"]
    except Exception:  # of a volume where a picture belongs, say
        ready = image
        if kind.dims == taken.dims:
            return kind
    problem = taken.problem(ready.ndim - 1, len(ready))
    if problem is not None:
        raise DatasetError(f"{case.images[0]}: {problem}")
    return kind
