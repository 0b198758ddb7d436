"""Why an image cannot be used. `str(error)` names the file and the reason in plain words."""

from __future__ import annotations


class ImageError(Exception):
    """An image that a function cannot take; the subclasses say why."""


class Unreadable(ImageError):
    """Not DICOM, truncated, or the pixels cannot be decoded."""


class Unsupported(ImageError):
    """DICOM, but not one grayscale or colour frame."""


class TooLarge(ImageError):
    """More pixels than the limit; refused before decoding."""


class TooSmall(ImageError):
    """Fewer pixels on a side than the limit."""


class NotFinite(ImageError):
    """Values that are not finite numbers, in the pixels or in what rescales them."""


class NoContrast(ImageError):
    """All pixels are the same."""
