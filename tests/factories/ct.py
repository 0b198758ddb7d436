"""A CT of a made-up body: ellipses of known attenuation, so that every pixel's Hounsfield value is known."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AIR, LUNG, SOFT, BONE = -1000, -750, 40, 700


def slice_hu(size: int, height: float) -> NDArray[np.int16]:
    """Hounsfield values of a slice (size, size); `height` from 0 to 1 along the body makes each one different."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    hu = np.full((size, size), AIR, np.int16)
    hu[(x / 0.9) ** 2 + (y / 0.62) ** 2 < 1] = SOFT
    lung = 0.18 + 0.2 * np.sin(np.pi * height)
    for side in (-1, 1):
        hu[((x - side * 0.42) / lung) ** 2 + (y / (lung + 0.08)) ** 2 < 1] = LUNG
    hu[(x / 0.11) ** 2 + ((y - 0.4) / 0.11) ** 2 < 1] = BONE
    hu[((x - 0.4) / 0.05) ** 2 + ((y - 0.5 + height) / 0.05) ** 2 < 1] = SOFT  # a nodule that wanders
    noise = np.random.default_rng(int(height * 1e6)).normal(0, 12, hu.shape)
    return (hu + noise).astype(np.int16)


def series(count: int = 40, size: int = 256, spacing: float = 1.4, thickness: float = 5.0) -> list[bytes]:
    """Encoded files of one axial series.

    Instance numbers run from the head down, against the order by position: who sorts by number shows it upside down.
    """
    study, uid, frame = generate_uid(), generate_uid(), generate_uid()
    files = []
    for n in range(count):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "CT-4711", "Phantom^Carla", "19610203", "F"
        ds.PatientAge, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "063Y", "20240311", "094500", "ACC-4711"
        ds.Modality, ds.StudyDescription, ds.BodyPartExamined = "CT", "Thorax phantom", "CHEST"
        ds.SeriesNumber, ds.InstanceNumber = 2, count - n
        ds.ImageType, ds.KVP = ["ORIGINAL", "PRIMARY", "AXIAL"], "120"
        ds.ImagePositionPatient = [-size * spacing / 2, -size * spacing / 2, -300 + n * thickness]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [spacing, spacing], thickness
        ds.Rows = ds.Columns = size
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
        ds.WindowCenter, ds.WindowWidth = [40, -500], [350, 1400]
        ds.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNGS"]
        ds.PixelData = slice_hu(size, n / max(count - 1, 1)).tobytes()
        ds["PixelData"].VR = "OW"
        out = io.BytesIO()
        dcmwrite(out, ds, enforce_file_format=True)
        files.append(out.getvalue())
    return files
