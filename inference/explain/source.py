"""The image that maps belong to: its header as derived objects need it, and where its pixels lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from inference.preprocess.errors import Unreadable, Unsupported

# Patient and General Study attributes of type 2 (PS3.3 C.7.1.1, C.7.2.1): a derived object must carry them, empty
# when the source does not say.
TYPE_2 = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
          "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
# The description of the source series (SC) and whatever else may hold a pixel is left behind.
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class Place:
    """Where an image's pixels lie.

    spacing   between pixel centres in mm, (down a column, along a row); None when the header has none
    measured  "patient" (Pixel Spacing), "detector" (Imager Pixel Spacing, not corrected for magnification;
              PS3.3 10.7.1.3), "nowhere" without any
    origin, along_row, along_column  of the first pixel's centre in patient coordinates, mm; None for projections
    """

    rows: int
    columns: int
    spacing: tuple[float, float] | None
    measured: str
    origin: NDArray[np.float64] | None = None
    along_row: NDArray[np.float64] | None = None
    along_column: NDArray[np.float64] | None = None

    @property
    def in_patient(self) -> bool:
        """Whether pixels have patient coordinates."""
        return self.origin is not None and self.spacing is not None

    def cell_spacing(self, cells: int) -> tuple[float, float] | None:
        """Spacing in mm of an N×N grid that covers the whole image."""
        if self.spacing is None:
            return None
        return self.spacing[0] * self.rows / cells, self.spacing[1] * self.columns / cells

    def cell_origin(self, cells: int) -> NDArray[np.float64]:
        """Patient coordinates of the centre of cell (0, 0). ValueError for an image without them.

        The image begins half a pixel before its first pixel's centre, the cell's centre lies half a cell after that.
        """
        if self.origin is None or self.along_row is None or self.along_column is None or self.spacing is None:
            raise ValueError("the image has no patient coordinates")
        down, right = (self.rows / cells - 1) / 2, (self.columns / cells - 1) / 2  # in pixels
        return np.asarray(
            self.origin + self.along_row * right * self.spacing[1] + self.along_column * down * self.spacing[0]
        )

    def words(self, cells: int) -> str:
        """One sentence on the grid for people, at most 1024 characters."""
        text = f"{cells} x {cells} cells over the whole {self.columns} x {self.rows} image"
        spacing = self.cell_spacing(cells)
        if spacing is None:
            return f"{text}; the image has no pixel spacing, so lengths cannot be measured."
        where = "in the patient" if self.measured == "patient" else "at the detector, not corrected for magnification"
        return f"{text}, {spacing[1]:.3f} x {spacing[0]:.3f} mm {where}."


def read_header(path: Path, frames: bool = False) -> Dataset:
    """The header without pixels, with empty type 2 attributes added.

    frames  whether it may have several
    Raises Unreadable, or Unsupported for a file that is no single-frame image of a study (all ImageError).
    """
    try:
        header = dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{Path(path).name}: not a readable DICOM file ({error})") from error
    missing = [name for name in REQUIRED if not header.get(name)]
    if missing:
        raise Unsupported(f"{Path(path).name}: has no {', '.join(missing)}")
    if not frames and int(header.get("NumberOfFrames", 1) or 1) != 1:
        raise Unsupported(f"{Path(path).name}: has several frames, one is expected")
    for name in TYPE_2:
        if name not in header:
            setattr(header, name, "")
    if "Modality" not in header:
        header.Modality = "OT"
    if not re.fullmatch(r"\d{3}[DWMY]", str(header.get("PatientAge") or "")):
        header.pop("PatientAge", None)  # type 3; a value that is no age would make every derived object invalid
    header.setdefault("SliceThickness", None)
    for name in PIXELS:
        if name in header:
            del header[name]
    return header


def place_of(header: Dataset) -> Place:
    """Where the image's pixels lie (PS3.3 10.7.1.3, C.7.6.2.1.1)."""
    spacing, measured = _spacing(header)
    place = Place(int(header.Rows), int(header.Columns), spacing, measured)
    if measured != "patient" or "FrameOfReferenceUID" not in header:
        return place
    position, cosines = _numbers(header, "ImagePositionPatient", 3), _numbers(header, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return place
    return Place(place.rows, place.columns, spacing, measured, position, cosines[:3], cosines[3:])


AXES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}


def orientation(header: Dataset) -> list[int]:
    """Direction cosines of rows and columns by the first letters of Patient Orientation (PS3.3 C.7.6.1.1.1);
    (1, 0, 0, 0, 1, 0) when it does not say, or says what cannot be."""
    directions = [AXES.get(str(value)[:1].upper()) for value in header.get("PatientOrientation") or []]
    if len(directions) != 2 or None in directions:
        return [1, 0, 0, 0, 1, 0]
    row, column = directions
    if row is None or column is None or any(a * b for a, b in zip(row, column, strict=True)):
        return [1, 0, 0, 0, 1, 0]
    return [*row, *column]


def _spacing(header: Dataset) -> tuple[tuple[float, float] | None, str]:
    pixel, imager = _numbers(header, "PixelSpacing", 2), _numbers(header, "ImagerPixelSpacing", 2)
    for value, where in ((pixel, "patient"), (imager, "detector")):
        if value is not None and (value > 0).all():
            # Pixel Spacing that only repeats the detector's is not a correction (PS3.3 10.7.1.3)
            same = where == "patient" and imager is not None and np.allclose(value, imager)
            return (float(value[0]), float(value[1])), "detector" if same else where
    return None, "nowhere"


def _numbers(header: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(value) for value in header.get(keyword) or []])
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def cell_of_pixels(length: int, cells: int) -> NDArray[np.int64]:
    """(length,): the cell in which each pixel's centre lies, of `cells` that share `length` pixels evenly."""
    return (2 * np.arange(length) + 1) * cells // (2 * length)


def on_pixels(grid: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(N, M) of cells → (rows, columns): each pixel has the value of the cell in which its centre lies."""
    down, right = cell_of_pixels(rows, grid.shape[0]), cell_of_pixels(columns, grid.shape[1])
    return np.ascontiguousarray(grid[down][:, right])
