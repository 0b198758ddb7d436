"""Image quality and longitudinal quality of scans, and how urgent they are (seed 001, [image quality score],
[longitudinal quality score], scan priority). Pure rules, versioned; formulas and worked numbers in README.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

VERSION = "1"
WEIGHTS = {"resolution": 0.35, "noise": 0.30, "origin": 0.20, "machine": 0.15}
# modality → pixel spacing in mm that is as fine as is usual; and the long side in pixels where there is no spacing
USUAL = {"MG": (0.1, 3000), "DX": (0.2, 2000), "CR": (0.2, 2000), "CT": (0.8, 512), "MR": (1.0, 256), "PT": (4.0, 128)}
OTHERS = (0.5, 1000)
QUIET_DB, NOISY_DB = 40.0, 10.0  # contrast to noise at which the noise part is 1, and 0
# Conversion Type (PS3.3 C.8.6.1): film, documents and video that were digitised
DIGITISED = {"DF": 0.4, "SD": 0.3, "SI": 0.4, "DV": 0.5, "SYN": 0.6}
DIGITISERS = ("LUMISYS", "VIDAR", "HOWTEK", "DBA", "FILM DIGITIZER", "FILM DIGITISER", "LUMISCAN")
# Immerkær, Fast noise variance estimation, CVIU 64 (1996): a mask that is blind to planes and most edges
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=float)
# Requested Procedure Priority (0040,1003) → priority of the scan, 0 (as they come) to 10
REQUESTED = {"STAT": 10, "HIGH": 7, "MEDIUM": 3, "ROUTINE": 0, "LOW": 0}
# findings that wait badly → priority when a function calls them present
CRITICAL = {"Pneumothorax": 10, "Edema": 6, "Effusion": 4, "Pneumonia": 4}


@dataclass(frozen=True)
class Pixels:
    """What the pixels of one image say: noise as standard deviation, range from 1st to 99th percentile."""

    noise: float
    span: float


@dataclass(frozen=True)
class Quality:
    """An image's quality in [0, 1] with its parts; `words` names what lowers it."""

    score: float
    resolution: float
    noise: float
    origin: float
    machine: float
    corrupt: bool
    words: list[str]
    version: str = VERSION

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def pixels_of(image: NDArray[Any]) -> Pixels:
    """Noise and span of a grey image, (rows, columns); noise is 0 for one of less than 3×3 pixels.

    σ = √(π/2) · Σ|I ∗ N| / (6 (W−2)(H−2)); Immerkær (1996), equation 9.
    """
    grey = np.asarray(image, dtype=float)
    low, high = np.percentile(grey, [1, 99])
    rows, columns = grey.shape
    if rows < 3 or columns < 3:
        return Pixels(0.0, float(high - low))
    inner = np.abs(convolve(grey, NOISE_MASK))[1:-1, 1:-1]
    return Pixels(float(math.sqrt(math.pi / 2) * inner.sum() / (6 * (rows - 2) * (columns - 2))), float(high - low))


def image_quality(header: Mapping[str, Any], pixels: Pixels | None) -> Quality:
    """Quality of one image.

    header  keyword → value: Modality, Rows, Columns, PixelSpacing, ImagerPixelSpacing (mm), SliceThickness,
            ConversionType, ImageType, Manufacturer, ManufacturerModelName, LossyImageCompression(Ratio)
    pixels  None when they cannot be decoded: the image is corrupt and scores 0
    """
    usual, side = USUAL.get(str(header.get("Modality") or ""), OTHERS)
    words = []
    spacing = _spacing(header)
    if spacing is None:
        long_side = max(int(header.get("Rows") or 0), int(header.get("Columns") or 0))
        resolution = min(1.0, long_side / side)
    else:
        resolution = min(1.0, usual / spacing)
    if resolution < 0.7:
        words.append("coarse pixels")
    corrupt = pixels is None or pixels.span <= 0
    noise = 0.0
    if pixels is not None and pixels.span > 0:
        ratio = 20 * math.log10(pixels.span / pixels.noise) if pixels.noise > 0 else QUIET_DB
        noise = min(max((ratio - NOISY_DB) / (QUIET_DB - NOISY_DB), 0.0), 1.0)
    if corrupt:
        words.append("the image is blank" if pixels else "the pixels cannot be decoded")
    elif noise < 0.5:
        words.append("noise")
    origin = _origin(header)
    if origin < 1:
        words.append("digitised from film or paper, or a copy")
    machine = _machine(header)
    if machine < 0.8:
        words.append("lossy compression or unknown machine")
    parts = {"resolution": resolution, "noise": noise, "origin": origin, "machine": machine}
    score = 0.0 if corrupt else sum(WEIGHTS[name] * value for name, value in parts.items())
    return Quality(
        score=round(score, 4),
        resolution=round(resolution, 4),
        noise=round(noise, 4),
        origin=round(origin, 4),
        machine=round(machine, 4),
        corrupt=corrupt,
        words=words,
    )


def _spacing(header: Mapping[str, Any]) -> float | None:
    """The coarser of the two pixel spacings, in mm."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = [float(v) for v in header.get(keyword) or [] if _positive(v)]
        if len(values) == 2:
            return max(values)
    return None


def _positive(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) > 0
    except (TypeError, ValueError):
        return False


def _origin(header: Mapping[str, Any]) -> float:
    maker = f"{header.get('Manufacturer') or ''} {header.get('ManufacturerModelName') or ''}".upper()
    if any(name in maker for name in DIGITISERS):
        return DIGITISED["DF"]
    return DIGITISED.get(str(header.get("ConversionType") or "").upper(), 1.0)


def _machine(header: Mapping[str, Any]) -> float:
    """1 for a machine that says what it is, 0.8 else; times 1 / (1 + ratio / 40) after lossy compression."""
    known = 1.0 if header.get("Manufacturer") and header.get("ManufacturerModelName") else 0.8
    if str(header.get("LossyImageCompression") or "00") != "01":
        return known
    said: Any = header.get("LossyImageCompressionRatio")
    ratios: list[Any] = list(said) if isinstance(said, list | tuple) else [said]
    several = [float(v) for v in ratios if _positive(v)]
    ratio = math.prod(several) if several else 10.0
    return known / (1 + ratio / 40)


def study_quality(images: Sequence[Quality]) -> float | None:
    """Of a scan: the mean of its images, less what the worst lowers it by: ¾ mean + ¼ worst; None without images."""
    if not images:
        return None
    scores = [one.score for one in images]
    return round(0.75 * sum(scores) / len(scores) + 0.25 * min(scores), 4)


@dataclass(frozen=True)
class Past:
    """One scan of a patient's longitudinal data."""

    day: date | None
    modalities: frozenset[str]


def longitudinal_quality(scans: Sequence[Past], biopsy: bool) -> float:
    """How much a patient's scans tell over time, in [0, 1].

    0.35 · (1 − 2^−(n−1)) for n scans, 0.25 · years / 5 (at most 5 years from the first to the last),
    0.15 · types / 3 (at most 3 modalities), 0.25 for a biopsy that says what it was.
    """
    if not scans:
        return 0.0
    days = sorted(scan.day for scan in scans if scan.day)
    years = (days[-1] - days[0]).days / 365.25 if days else 0.0
    types = frozenset[str]().union(*(scan.modalities for scan in scans))
    score = 0.35 * (1 - 2.0 ** (1 - len(scans))) + 0.25 * min(years / 5, 1) + 0.15 * min(len(types) / 3, 1)
    return round(score + 0.25 * biopsy, 4)


def requested_priority(values: Sequence[str]) -> int:
    """The priority that the most urgent of the requests asks for, 0 to 10."""
    return max((REQUESTED.get(value.strip().upper(), 0) for value in values), default=0)


def critical_priority(present: Sequence[str]) -> int:
    """The priority that the findings which a function calls present ask for, 0 to 10."""
    return max((CRITICAL.get(name, 0) for name in present), default=0)
