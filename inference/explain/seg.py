"""Maps as a DICOM Segmentation (PS3.3 A.51), binary by threshold or fractional."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.frame import encode_frame
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from inference.explain.codes import finding
from inference.explain.maps import NOTICE, MapSet
from inference.explain.objects import finish, identity, on_grid, planes
from inference.explain.source import Place, on_pixels, place_of

TYPES = ("fractional", "binary")
WHOLE = 255  # Maximum Fractional Value: the stored value is the matrix's


def segmentation(maps: MapSet, header: Dataset, when: dt.datetime, kind: str = "fractional") -> hd.seg.Segmentation:
    """One segment for each class, one frame for each segment.

    header  of the source image, by `read_header`
    kind    "fractional": probability × 255 (Segmentation Fractional Type PROBABILITY); "binary": 1 where the
            probability reaches the class's threshold on the map
    A projection has no patient coordinates, so the frames have its rows and columns, pixel for pixel (PS3.3
    A.51.5.1): each pixel has the value of the cell in which its centre lies. An image with patient coordinates
    gets N×N frames that lie over it in its frame of reference.
    ValueError for another kind.
    """
    place = place_of(header)
    if place.in_patient:
        seg = on_planes(maps, [header], kind, planes(place, header, maps.cells))
    else:
        # highdicom makes the object on the small grid; the full frames are put in after, one at a time, as a float
        # copy of all of them at once would not fit
        seg = on_planes(maps, [on_grid(header, maps.cells)], kind)
        _full_frames(seg, _grids(maps, kind), place)
    finish(seg, maps, header, "seg", when)
    return seg


def _grids(maps: MapSet, kind: str) -> NDArray[np.uint8]:
    """What is stored, (K, …): the matrix, or 1 where it is salient. ValueError for another kind."""
    if kind not in TYPES:
        raise ValueError(f"{kind!r} is neither {' nor '.join(TYPES)}")
    if kind == "fractional":
        return maps.matrix
    return np.stack([maps.salient(name) for name in maps.names]).astype(np.uint8)


def on_planes(
    maps: MapSet, sources: list[Dataset], kind: str, placed: dict[str, Any] | None = None
) -> hd.seg.Segmentation:
    """The object with frames of N×N, one for each class and slice; `finish` is still to come.

    placed  arguments for highdicom that put the frames into the patient; as the sources lie when there are none
    """
    grids, fractional = _grids(maps, kind), kind == "fractional"
    small = np.moveaxis(grids if maps.slices else grids[:, None], 0, -1)  # (M, N, N, K)
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=small / np.float64(WHOLE) if fractional else small,
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        segment_descriptions=[_segment(maps, name, number) for number, name in enumerate(maps.names, 1)],
        fractional_type="PROBABILITY",
        max_fractional_value=WHOLE,
        omit_empty_frames=False,
        transfer_syntax_uid=RLELossless if fractional else ExplicitVRLittleEndian,
        content_label="HEATMAP",
        content_description=f"{NOTICE}: {maps.function_id}"[:64],
        **identity(maps, "seg", kind),
        **(placed or {}),
    )


def _segment(maps: MapSet, name: str, number: int) -> hd.seg.SegmentDescription:
    about = {
        "probability": f"{maps.probabilities[name]:.6f}",
        "threshold": f"{maps.thresholds[name]:g}",
        "weights": maps.weights_sha256,
    }
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name.replace("_", " ")[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=finding(name),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=maps.function_id[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=maps.version,
            source="Concord",
            parameters=about,
        ),
        tracking_uid=maps.uid("track", name),
        tracking_id=f"{maps.function_id} {name}"[:64],
    )


def _full_frames(seg: Any, grids: NDArray[np.uint8], place: Place) -> None:
    """Replace the N×N frames by frames of the source's size."""
    seg.Rows, seg.Columns = place.rows, place.columns
    # pixels correspond one to one, so the spacing is the source's; a measure "in the patient" would be untrue
    seg.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
    frames = (on_pixels(grid, place.rows, place.columns) for grid in grids)
    if seg.BitsAllocated == 1:
        seg.PixelData = _packed(frames)
        return
    seg.PixelData = encapsulate([_compressed(frame) for frame in frames])


def _compressed(frame: NDArray[np.uint8]) -> bytes:
    return encode_frame(
        frame,
        transfer_syntax_uid=RLELossless,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=0,
    )


def _packed(frames: Iterator[NDArray[np.uint8]]) -> bytes:
    """Frames as one row of bits without gaps between frames, the first pixel lowest (PS3.5 8.1.1), padded to even."""
    pieces, rest = [], np.zeros(0, np.uint8)
    for frame in frames:
        bits = np.concatenate([rest, frame.ravel()])
        whole = len(bits) // 8 * 8
        pieces.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        rest = bits[whole:]
    pieces.append(np.packbits(rest, bitorder="little").tobytes())
    data = b"".join(pieces)
    return data + b"\0" * (len(data) % 2)
