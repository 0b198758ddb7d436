"""Mammography phantoms: four views of both breasts with parenchyma, masses and calcifications.

A breast is planned once in three dimensions (depth from the chest wall, height, width) and projected to CC
(depth × width) and MLO (depth × height), so that a lesion shows in both views at a fitting place. Drawing is
done with the chest wall at the left edge; right breasts are mirrored at the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from inference.phantoms import dicom
from inference.phantoms.breast_lesions import LesionPlan, draw_lesion, plan_lesion
from inference.phantoms.texture import Bool, Float, cloud, curve, grain, resize, smooth_step, stroke
from inference.phantoms.truth import ImageTruth, LesionTruth

VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")
FIELD_MM = (287.0, 233.0)  # rows, columns of a 24 x 29 cm detector
ORIENTATION = {
    "R-CC": ("P", "L"),
    "L-CC": ("A", "R"),
    "R-MLO": ("P", "FL"),
    "L-MLO": ("A", "FR"),
}  # PS3.3 C.7.6.1.1.1: what the row and column directions point to
DENSITY_FRACTION = {"A": 0.10, "B": 0.30, "C": 0.55, "D": 0.82}


@dataclass(frozen=True)
class BreastPlan:
    """One breast in millimetres: `depth` chest wall to nipple, half extents of the base, density A-D."""

    depth: float
    half_width: float
    half_height: float
    density: str
    lesions: tuple[LesionPlan, ...]
    seed: int


@dataclass(frozen=True)
class BreastImage:
    """One view: `pixels` (rows, columns) uint16 below 4096 with its truth and its DICOM object."""

    name: str
    pixels: NDArray[np.uint16]
    truth: ImageTruth
    dataset: FileDataset


@dataclass(frozen=True)
class BreastCase:
    """Four views of one examination; `prior` is the same person's earlier one, if asked for."""

    seed: int
    malignant: bool
    density: str
    malignant_side: str | None
    identity: dicom.Identity
    images: tuple[BreastImage, ...]
    prior: BreastCase | None = None

    def truth(self) -> dict[str, Any]:
        """What truth.json holds."""
        return {
            "kind": "breast",
            "seed": self.seed,
            "study_instance_uid": self.identity.study_uid,
            "malignant": self.malignant,
            "malignant_side": self.malignant_side,
            "density": self.density,
            "images": [image.truth.to_dict() for image in self.images],
            "prior": self.prior.truth() if self.prior else None,
        }

    def write(self, folder: Path, truth: bool = True) -> list[Path]:
        """Write the DICOM files (prior in `prior/`) and truth.json; returns the DICOM paths."""
        folder = Path(folder)
        paths = [dicom.save(image.dataset, folder / f"{image.name}.dcm") for image in self.images]
        if self.prior:
            paths += self.prior.write(folder / "prior", truth=False)
        if truth:
            (folder / "truth.json").write_text(json.dumps(self.truth(), indent=1))
        return paths


def breast_case(
    seed: int,
    *,
    malignant: bool | None = None,
    size: tuple[int, int] = (2048, 1664),
    density: str | None = None,
    prior: bool = False,
    years_earlier: int = 0,
) -> BreastCase:
    """Four-view case of a seed; the same arguments give the same bytes.

    malignant  True/False, or None to let the seed draw (half and half)
    size       (rows, columns); the anatomy does not depend on it
    density    BI-RADS density A-D, or None to let the seed draw
    prior      also make the examination of two years before (a malignant lesion is smaller or not there)
    ValueError for a size under 64 or a density outside A-D.
    """
    rows, columns = size
    if min(rows, columns) < 64:
        raise ValueError(f"size {size} is under 64 pixels")
    rng = np.random.default_rng([seed, 1])
    drawn = bool(rng.random() < 0.5)
    malignant = drawn if malignant is None else malignant
    drawn_density = str(rng.choice(["A", "B", "C", "D"], p=[0.12, 0.4, 0.38, 0.10]))
    density = density or drawn_density
    if density not in DENSITY_FRACTION:
        raise ValueError(f"density {density!r} is not one of A, B, C, D")
    side = str(rng.choice(["L", "R"])) if malignant else None
    identity = dicom.Identity.make("breast", seed, sex="F", years_earlier=years_earlier)
    plans = _plan_breasts(rng, seed, density, side, years_earlier)
    series = dicom.stable_uid("breast-series", seed, years_earlier)
    images = []
    for number, name in enumerate(VIEWS, start=1):
        laterality, view = name.split("-")
        pixels, lesions = _draw_view(plans[laterality], view, laterality, size, seed, years_earlier)
        truth = ImageTruth(
            sop_instance_uid=dicom.stable_uid("breast", seed, years_earlier, name),
            rows=rows,
            columns=columns,
            classes=tuple(sorted({lesion.kind for lesion in lesions})),
            lesions=tuple(lesions),
            laterality=laterality,
            view=view,
            extra={"density": density},
        )
        ds = dicom.dataset(
            pixels, identity, modality="MG", sop_uid=truth.sop_instance_uid, series_uid=series,
            instance_number=number, spacing_mm=round(FIELD_MM[0] / rows, 4), window=(1900, 3000),
            body_part="BREAST", view=view, orientation=ORIENTATION[name], laterality=laterality,
            description="Screening mammography",
        )  # fmt: skip
        images.append(BreastImage(name, pixels, truth, ds))
    earlier = breast_case(seed, malignant=malignant, size=size, density=density, years_earlier=2) if prior else None
    return BreastCase(seed, malignant, density, side, identity, tuple(images), earlier)


def _plan_breasts(
    rng: np.random.Generator, seed: int, density: str, side: str | None, years_earlier: int
) -> dict[str, BreastPlan]:
    depth = float(rng.uniform(75, 130))
    half_width, half_height = float(rng.uniform(78, 112)), float(rng.uniform(88, 116))
    plans = {}
    for index, laterality in enumerate(("L", "R")):
        own = np.random.default_rng([seed, 2, index])
        lesions = []
        if own.random() < 0.45:
            lesions.append(plan_lesion(own, malignant=False, years_earlier=0))
        if laterality == side:
            lesions.insert(0, plan_lesion(own, malignant=True, years_earlier=years_earlier))
        plans[laterality] = BreastPlan(
            depth * float(own.uniform(0.95, 1.05)),
            half_width * float(own.uniform(0.95, 1.05)),
            half_height * float(own.uniform(0.95, 1.05)),
            density,
            tuple(lesions),
            int(own.integers(2**31)),
        )
    return plans


def _draw_view(
    plan: BreastPlan, view: str, laterality: str, size: tuple[int, int], seed: int, years_earlier: int
) -> tuple[NDArray[np.uint16], list[LesionTruth]]:
    rng = np.random.default_rng([plan.seed, 3 if view == "CC" else 4])
    pixel_rng = np.random.default_rng([plan.seed, 5 if view == "CC" else 6, years_earlier])
    mm = FIELD_MM[0] / size[0]
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32) * np.float32(mm)
    half = plan.half_width if view == "CC" else plan.half_height
    centre = FIELD_MM[0] / 2 + float(rng.uniform(-8, 8)) + (0.0 if view == "CC" else 12.0)
    edge = _skin_distance(x, y, plan, half, centre, view)
    thickness = 0.35 * smooth_step(edge, -0.5, 1.5) + 0.65 * smooth_step(edge, 0.0, 15.0)
    image = 0.24 * thickness + 0.12 * smooth_step(edge, 0.0, 70.0)
    tissue = _parenchyma(rng, x, y, plan, half, centre, edge)
    image += tissue
    image += _strands(rng, plan, half, centre, size, mm) * thickness * 0.10
    if view == "MLO":
        image = _pectoral(rng, x, y, image, edge)
    image += 0.10 * np.exp(-(((edge - 1.0) / 0.9) ** 2))  # skin line
    nipple = np.exp(-((((x - plan.depth + 2.5) ** 2 + (y - centre) ** 2) / 5.2**2) ** 2))
    image += 0.22 * nipple
    lesions = []
    for lesion in plan.lesions:
        spot = (lesion.depth * plan.depth, centre + (lesion.width if view == "CC" else lesion.height) * half)
        added, mask = draw_lesion(lesion, view, spot, size, mm)
        image += added * np.clip(thickness, 0.2, 1)
        if found := LesionTruth.from_mask(lesion.kind, lesion.malignant, mask & (edge > 0)):
            lesions.append(found)
    inside = (edge > -1.0) | (nipple > 0.25)
    image = _detector(pixel_rng, image, inside, mm)
    if laterality == "R":
        image = image[:, ::-1]
        lesions = [_mirrored(lesion) for lesion in lesions]
    pixels = np.clip(np.round(image * 4095), 0, 4095).astype(np.uint16)
    _marker(pixels, f"{laterality} {view}", laterality)
    return np.ascontiguousarray(pixels), lesions


def _skin_distance(x: Float, y: Float, plan: BreastPlan, half: float, centre: float, view: str) -> Float:
    """Signed distance to the skin in mm, about; positive inside."""
    lift = (y - centre) / half
    sag = 0.0 if view == "CC" else 0.16 * lift * (1 - lift * lift)  # weight pulls an MLO breast down
    profile = np.clip(1 - np.abs(lift) ** 2.3, 0, None) ** 0.62 + sag
    boundary = plan.depth * profile
    if view == "MLO":  # the axillary fold leaves the image at its upper edge
        fold = (0.62 * plan.depth) * (1 + 0.10 * np.clip(-lift - 0.9, 0, None)) - 60 * np.logaddexp(0, (lift + 0.5) * 8)
        boundary = 12.0 * np.logaddexp(boundary / 12.0, np.clip(fold, 0, None) / 12.0)
        boundary -= 12.0 * np.log(2) * np.exp(-boundary / 30.0) + 3.0 * smooth_step(lift, 0.9, 1.05)
    slope = np.gradient(boundary[:, 0], y[:, 0]).astype(np.float32)[:, None]
    distance = (boundary - x) / np.sqrt(1 + np.clip(slope, -6, 6) ** 2)
    return distance.astype(np.float32)


def _parenchyma(
    rng: np.random.Generator, x: Float, y: Float, plan: BreastPlan, half: float, centre: float, edge: Float
) -> Float:
    """Fibroglandular tissue: a fan behind the nipple, fibres along rays from it, fat between."""
    shape = (x.shape[0], x.shape[1])
    radius = np.hypot(x - plan.depth, y - centre)
    angle = np.arctan2(y - centre, plan.depth + 4 - x)
    fibres = _polar_cloud(rng, radius / 140.0, angle / 3.2 + 0.5)
    lumps = cloud(rng, shape, cells=5, octaves=6, persistence=0.66)
    fan = np.exp(-((angle / 0.95) ** 2)) * smooth_step(radius, 150.0, 20.0)
    fraction = DENSITY_FRACTION[plan.density]
    level = 1.6 * fan + 0.50 * lumps + 0.30 * fibres - 1.25 + 1.45 * fraction
    gland = smooth_step(level, -0.35, 1.25) * smooth_step(edge, 5.0, 20.0)
    body = (0.13 + 0.14 * fraction) * gland * (1.0 + 0.20 * lumps + 0.16 * fibres)
    return (body + 0.026 * lumps * smooth_step(edge, 2.0, 15.0)).astype(np.float32)


def _polar_cloud(rng: np.random.Generator, radius: Float, angle: Float) -> Float:
    """Noise that is long along the radius and fine across it, read from a polar grid by nearest cell."""
    grid = resize(cloud(rng, (96, 384), cells=6, octaves=4, persistence=0.8), 48, 1536)
    r = np.clip(radius * 47, 0, 47).astype(np.int32)
    a = np.clip(angle * 1535, 0, 1535).astype(np.int32)
    return grid[r, a]


def _strands(
    rng: np.random.Generator, plan: BreastPlan, half: float, centre: float, size: tuple[int, int], mm: float
) -> Float:
    """Cooper's ligaments and vessels: thin bent curves."""
    out = np.zeros(size, dtype=np.float32)
    for index in range(34):
        vessel = index < 5
        start = (rng.uniform(0.05, 0.85) * plan.depth, centre + rng.uniform(-0.8, 0.8) * half)
        heading = np.arctan2(centre - start[1], plan.depth - start[0]) + rng.normal(0, 0.5)
        path = curve(rng, start, heading, rng.uniform(18, 70) if vessel else rng.uniform(8, 34), 0.22, 9)
        width = rng.uniform(1.4, 2.4) if vessel else rng.uniform(0.3, 0.8)
        line = stroke(size, [(px / mm, py / mm) for px, py in path], width / mm)
        out = np.maximum(out, line * rng.uniform(0.4, 1.0))
    return out


def _pectoral(rng: np.random.Generator, x: Float, y: Float, image: Float, edge: Float) -> Float:
    """Pectoral muscle: a bright, slightly convex triangle at the upper chest wall."""
    top, down = float(rng.uniform(45, 78)), float(rng.uniform(125, 185))
    along = np.clip(1 - y / down, 0, None)
    border = top * along * (1 + 0.28 * (1 - along))
    muscle = smooth_step(border - x, -1.5, 4.0) * smooth_step(edge, 0.0, 6.0)
    fibre = cloud(rng, (x.shape[0], x.shape[1]), cells=6, octaves=4)
    return (image * (1 - 0.55 * muscle) + muscle * (0.40 + 0.02 * fibre)).astype(np.float32)


def _detector(rng: np.random.Generator, image: Float, inside: Bool, mm: float) -> Float:
    """Blur-free display values: air nearly black, quantum noise, a soft shoulder at the bright end."""
    shape = (image.shape[0], image.shape[1])
    noise = grain(rng, shape, 0.010 if mm > 0.3 else 0.014)
    curve_ = 1.0 - np.exp(-1.55 * np.clip(image, 0, None))
    return np.where(inside, 0.06 + 0.92 * curve_ + noise, 0.012 + 0.15 * np.abs(noise)).astype(np.float32)


def _mirrored(lesion: LesionTruth) -> LesionTruth:
    width = lesion.mask.shape[1]
    x0, y0, x1, y1 = lesion.box
    return LesionTruth(lesion.kind, lesion.malignant, (width - x1, y0, width - x0, y1), lesion.mask[:, ::-1])


def _marker(pixels: NDArray[np.uint16], text: str, laterality: str) -> None:
    """Lead letters on the side of the air, as on every mammogram."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = pixels.shape
    height = max(8, rows // 40)
    plate = Image.new("L", (height * 5, height + 4), 0)
    ImageDraw.Draw(plate).text((1, 1), text, fill=255, font=ImageFont.load_default(size=height))
    letters = np.asarray(plate)
    left = columns - letters.shape[1] - height if laterality == "L" else height
    top = height
    view = pixels[top : top + letters.shape[0], left : left + letters.shape[1]]
    np.maximum(view, (letters.astype(np.uint16) * 15)[: view.shape[0], : view.shape[1]], out=view)
