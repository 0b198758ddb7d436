"""From DICOM files to network inputs."""

from inference.preprocess.errors import (
    ImageError,
    NoContrast,
    NotFinite,
    TooLarge,
    TooSmall,
    Unreadable,
    Unsupported,
)
from inference.preprocess.read import Limits, ScanImage, ViewHint, read_image
from inference.preprocess.views import Geometry, Prepared, prepare_breast, prepare_whole

__all__ = [
    "Geometry",
    "ImageError",
    "Limits",
    "NoContrast",
    "NotFinite",
    "Prepared",
    "ScanImage",
    "TooLarge",
    "TooSmall",
    "Unreadable",
    "Unsupported",
    "ViewHint",
    "prepare_breast",
    "prepare_whole",
    "read_image",
]
