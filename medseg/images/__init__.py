"""Images and labels in and out, each with its place in the world.

MONAI's reader is imported by its own name, `medseg.images.reader.Reader`: importing MONAI takes seconds.
"""

from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.read import FoundImage, find_images, read_geometry, read_image
from medseg.images.series import write_dicom_series
from medseg.images.write import write_labels, write_volume

__all__ = [
    "FoundImage",
    "Geometry",
    "Image",
    "find_images",
    "read_geometry",
    "read_image",
    "write_dicom_series",
    "write_labels",
    "write_volume",
]
