"""Images and labels in and out, each with its place in the world.

MONAI's reader is imported by its own name, `medseg.images.reader.Reader`: importing MONAI takes seconds.
"""

from medseg.images.channels import are_channels, group_channels
from medseg.images.coding import LabelCoding
from medseg.images.dicom.series_write import write_dicom_series
from medseg.images.find import (
    FoundImage,
    NoImageFoundError,
    case_name,
    files_at,
    find_images,
    find_pages,
    find_twins,
    has_image_suffix,
    image_of_mask,
    visible_files,
)
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.read import (
    count_channels,
    needs_grid,
    read_channels,
    read_geometry,
    read_image,
    read_label,
    read_label_parts,
    split_series,
)
from medseg.images.write import write_dicom_seg, write_labels, write_volume

__all__ = [
    "FoundImage",
    "Geometry",
    "Image",
    "LabelCoding",
    "NoImageFoundError",
    "are_channels",
    "case_name",
    "count_channels",
    "files_at",
    "find_images",
    "find_pages",
    "find_twins",
    "group_channels",
    "has_image_suffix",
    "image_of_mask",
    "needs_grid",
    "read_channels",
    "read_geometry",
    "read_image",
    "read_label",
    "read_label_parts",
    "split_series",
    "visible_files",
    "write_dicom_seg",
    "write_dicom_series",
    "write_labels",
    "write_volume",
]
