"""Instances and frames in another transfer syntax than the stored one (PS3.5 section 10), always without loss."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels import get_encoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from portal.archive.decode import decoded_frames, frame_array
from portal.archive.frames import frame_count
from portal.core.errors import Refused

WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}  # bytes of a word of each VR


def instance_as(path: Path, syntax: str) -> bytes:
    """The whole file in a syntax of `media.TARGETS`. Raises Refused (406) when no codec can make it."""
    dataset = dcmread(path, force=True)
    target, out = UID(syntax), io.BytesIO()
    try:
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress(generate_instance_uid=False)
        elif dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
            _swap(dataset, path)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if target.is_encapsulated and "PixelData" in dataset:
            dataset.compress(target, generate_instance_uid=False)
        else:
            target = ExplicitVRLittleEndian
        dcmwrite(out, dataset, enforce_file_format=True, little_endian=True, implicit_vr=False)
    except Exception as error:  # codecs raise what they like; all of it means the same here
        words = f"This instance cannot be sent as {target.name} ({type(error).__name__}); accept transfer-syntax=*."
        raise Refused("not_acceptable", words, status=406) from error
    return out.getvalue()


def _swap(dataset: Dataset, path: Path) -> None:
    """Turn what pydicom leaves in big-endian order when it writes little-endian: the words of binary values."""
    if "PixelData" in dataset:
        # decoded, since words of 16 bits say nothing about samples of 8 or 32
        dataset.PixelData = b"".join(decoded_frames(path, list(range(1, frame_count(dataset) + 1))))
    for element in dataset.iterall():  # reads all values, so that none is written as it lies in the file
        if element.keyword != "PixelData" and element.VR in WORDS and element.value:
            element.value = (
                np.frombuffer(element.value, f">u{WORDS[element.VR]}").astype(f"<u{WORDS[element.VR]}").tobytes()
            )
    dataset.set_original_encoding(False, True)


def frames_as(path: Path, frames: list[int], syntax: str) -> list[bytes]:
    """Frames (counted from 1) in a syntax of `media.TARGETS`. Raises Refused (406)."""
    if syntax == ExplicitVRLittleEndian:
        return decoded_frames(path, frames)
    dataset = dcmread(path, force=True)
    encoder = get_encoder(syntax)
    subsampled = str(dataset.get("PhotometricInterpretation", "")) == "YBR_FULL_422"
    out = []
    for number in frames:
        pixels = np.ascontiguousarray(frame_array(dataset, number, raw=not subsampled))
        try:
            frame = encoder.encode(
                pixels,
                rows=int(dataset.Rows),
                columns=int(dataset.Columns),
                number_of_frames=1,
                samples_per_pixel=pixels.shape[2] if pixels.ndim == 3 else 1,
                planar_configuration=0,
                bits_allocated=int(dataset.BitsAllocated),
                bits_stored=int(dataset.BitsStored),
                pixel_representation=int(dataset.get("PixelRepresentation", 0)),
                photometric_interpretation="RGB" if subsampled else str(dataset.PhotometricInterpretation),
            )
        except Exception as error:  # see above
            words = f"This frame cannot be sent as {UID(syntax).name} ({type(error).__name__})."
            raise Refused("not_acceptable", words, status=406) from error
        out.append(frame)
    return out
