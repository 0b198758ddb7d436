"""What text is burnt into: phantoms of the repository, a speckled ultrasound fan, CT slices, real scans by path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from scipy.ndimage import gaussian_filter

from inference.phantoms import breast_case, chest
from tests.factories.ct import slice_hu


def chest_ground(rng: np.random.Generator) -> Dataset:
    side = int(rng.choice([768, 1024, 1536, 2048]))
    return chest(int(rng.integers(0, 10**6)), size=(side, side)).dataset


def breast_ground(rng: np.random.Generator) -> Dataset:
    rows = int(rng.choice([1024, 1536, 2048]))
    case = breast_case(int(rng.integers(0, 10**6)), size=(rows, rows * 13 // 16))
    return case.images[int(rng.integers(0, 4))].dataset


def ct_ground(rng: np.random.Generator) -> Dataset:
    hu = slice_hu(512, float(rng.random()))
    ds = bare(CTImageStorage, "CT", (hu.astype(np.int32) + 1024).clip(0, 4095).astype(np.uint16), 12)
    ds.RescaleIntercept, ds.RescaleSlope, ds.WindowCenter, ds.WindowWidth = -1024, 1, 40, 400
    return ds


def fan(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A sector of speckle on black, as an ultrasound console shows it."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    x -= shape[1] / 2
    radius, angle = np.hypot(x, y), np.abs(np.arctan2(x, y + 1))
    inside = (angle < 0.62) & (radius > shape[0] * 0.12) & (radius < shape[0] * 0.9)
    tissue = gaussian_filter(rng.standard_normal(shape), shape[0] / 24)
    tissue = (tissue - tissue.min()) / np.ptp(tissue)  # organs and vessels: brighter and darker parts
    echo = gaussian_filter(rng.rayleigh(1.0, shape), 1.2) * (0.15 + 0.85 * tissue**2)
    return np.where(inside, (echo * 110).clip(0, 210), 0).astype(np.uint8)


def us_ground(rng: np.random.Generator) -> Dataset:
    shape = (600, 800) if rng.random() < 0.5 else (768, 1024)
    grey = fan(rng, shape)
    if rng.random() < 0.5:
        return bare(UltrasoundImageStorage, "US", grey, 8)
    colour = np.repeat(grey[..., None], 3, 2)
    y, x = int(shape[0] * 0.5), int(shape[1] * 0.5)
    colour[y : y + 60, x : x + 80, 0] |= 160  # flow
    return bare(UltrasoundImageStorage, "US", colour, 8)


def cine_ground(rng: np.random.Generator) -> Dataset:
    frames = np.stack([fan(rng, (480, 640)) for _ in range(6)])
    return bare(UltrasoundMultiFrameImageStorage, "US", frames, 8)


def capture_ground(rng: np.random.Generator) -> Dataset:
    shape = (700, 900)
    tint = rng.integers(0, 255, 3)
    return bare(SecondaryCaptureImageStorage, "OT", np.full((*shape, 3), tint, np.uint8), 8)


GROUNDS: dict[str, Callable[[np.random.Generator], Dataset]] = {
    "chest": chest_ground,
    "breast": breast_ground,
    "ct": ct_ground,
    "ultrasound": us_ground,
    "cine": cine_ground,
    "capture": capture_ground,
}


def real_ground(path: str) -> Dataset:
    """A real scan, decompressed, as a ground."""
    ds = dcmread(path)
    if ds.file_meta.TransferSyntaxUID.is_compressed:
        ds.decompress()
    return ds


def bare(sop_class: str, modality: str, pixels: NDArray[np.generic], bits: int) -> Dataset:
    """A data set of (frames,) rows, columns(, 3) pixels without an identity."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.ConversionType = modality, "WSD"
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    plane = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    if pixels.ndim - colour == 3:
        ds.NumberOfFrames = pixels.shape[0]
    ds.Rows, ds.Columns = plane
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    return ds
