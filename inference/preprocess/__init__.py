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
from inference.preprocess.prepare import Damaged, Preparation, Read, pack, unpack
from inference.preprocess.read import Limits, ScanImage, ViewHint, read_image
from inference.preprocess.views import Geometry, Prepared, prepare_breast, prepare_whole

__all__ = [
    "Damaged",
    "Geometry",
    "ImageError",
    "Limits",
    "NoContrast",
    "NotFinite",
    "Preparation",
    "Prepared",
    "Read",
    "ScanImage",
    "TooLarge",
    "TooSmall",
    "Unreadable",
    "Unsupported",
    "ViewHint",
    "pack",
    "prepare_breast",
    "prepare_whole",
    "read_image",
    "unpack",
]
