"""NIfTI-1 volumes and masks, and the same as an nnU-Net raw data set (v2: dataset.json, imagesTr, labelsTr).

DICOM's patient axes run to the left and back, NIfTI's to the right and front (LPS → RAS): the first two rows of the
affine are negated. Array axes are column, row, slice. A projection is one slice at the origin, its axes along the
image's; without a pixel spacing a pixel is 1.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from inference.explain.source import place_of
from portal.archive.decode import frame_array
from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.core import storage
from portal.core.errors import Refused
from portal.export.scope import Scope
from portal.export.sets.common import CaseFiles, cases, images, labels_of
from portal.export.shapes import Shape, mask

Volume = NDArray[Any]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Images that make one volume, in the order of its slices; `uids` holds (SOP Instance UID, frame) of each."""

    name: str
    modality: str
    uids: list[tuple[str, int]]
    instances: list[Instance]
    shape: tuple[int, int]


def files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """images/<case>-<series>.nii.gz, masks/<case>-<series>_<who>.nii.gz where somebody drew, labels.json (name →
    value), left_out.json of images that cannot be decoded. Who is `truth` or a reader; later labels lie on top."""
    values = label_values(scope)
    left_out: list[dict[str, str]] = []
    for one in cases(scope):
        for stack, volume, affine in _readable(one, left_out):
            yield f"images/{stack.name}.nii.gz", iter([packed(volume, affine)])
            for who, shapes in {"truth": one.decided, **one.readers}.items():
                drawn = label_map(stack, shapes, values)
                if drawn.any():
                    yield f"masks/{stack.name}_{who}.nii.gz", iter([packed(drawn, affine)])
    yield "labels.json", iter([_json(values)])
    if left_out:
        yield "left_out.json", iter([_json(left_out)])


def nnunet_files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Dataset001_<Name>/: every volume of a settled case with the mask on which more than half of its readers agree,
    or where nobody drew an outline, the truth's boxes."""
    values = label_values(scope)
    name = re.sub(r"[^A-Za-z0-9]", "", scope.name.title()) or "Concord"
    root, channels, count = f"Dataset001_{name}", set[str](), 0
    left_out: list[dict[str, str]] = []
    for one in cases(scope):
        if one.truth is None:
            continue
        for stack, volume, affine in _readable(one, left_out):
            count += 1
            channels.add(stack.modality or "OT")
            agreed = majority([label_map(stack, shapes, values) for shapes in one.readers.values()], values)
            if not agreed.any():
                agreed = label_map(stack, one.decided, values)
            yield f"{root}/imagesTr/{stack.name}_0000.nii.gz", iter([packed(volume, affine)])
            yield f"{root}/labelsTr/{stack.name}.nii.gz", iter([packed(agreed, affine)])
    told = {
        "channel_names": {"0": "CT" if channels == {"CT"} else "/".join(sorted(channels)) or "image"},
        "labels": {"background": 0, **values},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "name": name,
        "description": f"{scope.name}. Research use only.",
    }
    yield f"{root}/dataset.json", iter([_json(told)])
    if left_out:
        yield "left_out.json", iter([_json(left_out)])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def label_values(scope: Scope) -> dict[str, int]:
    """Name → value in masks; marks without a label of the protocol count as "Finding"."""
    names = dict.fromkeys([*labels_of(scope).values(), "Finding"])
    return {name: number for number, name in enumerate(names, 1)}


def stacks(one: CaseFiles) -> list[Stack]:
    """Slices of one series, size and plane are a volume; every projection is one; a multi-frame image is one."""
    groups: dict[tuple[Any, ...], list[Instance]] = {}
    for instance in images(one.case):
        alone = instance.series.modality not in {"CT", "MR", "PT"} or instance.frames > 1
        key = (instance.series_id, instance.rows, instance.columns, instance.pk if alone else 0)
        groups.setdefault(key, []).append(instance)
    made = []
    for number, group in enumerate(groups.values(), 1):
        uids = [(i.sop_uid, frame) for i in group for frame in range(1, i.frames + 1)]
        name = f"{one.name}-{number:03d}"
        made.append(Stack(name, group[0].series.modality, uids, group, (group[0].rows, group[0].columns)))
    return made


def _readable(one: CaseFiles, left_out: list[dict[str, str]]) -> Iterator[tuple[Stack, Volume, NDArray[np.float64]]]:
    """The stacks of a case as `read` gives them; what cannot be decoded is added to `left_out`."""
    for stack in stacks(one):
        try:
            volume, affine = read(stack)
        except (Refused, FileNotFoundError, ValueError) as error:
            left_out.append({"image": stack.name, "why": str(error)})
            continue
        yield stack, volume, affine


def read(stack: Stack) -> tuple[Volume, NDArray[np.float64]]:
    """(columns, rows, slices) in the image's values after rescale, and the affine to RAS mm; sorts the stack's slices.

    Raises Refused or ValueError for what cannot be decoded, has colour, or does not lie in one stack.
    """
    slices: list[tuple[float, Dataset, NDArray[Any], tuple[str, int]]] = []
    for instance in stack.instances:
        with local_copy(storage.archive(), instance.name) as path:
            ds = dcmread(path, force=True)
            for frame in range(1, instance.frames + 1):
                pixels = frame_array(ds, frame)
                if pixels.ndim != 2:
                    raise ValueError("the image has colour")
                values = np.asarray(apply_modality_lut(pixels, ds))
                slices.append((_along_normal(ds, frame), _geometry(ds), values, (instance.sop_uid, frame)))
    slices.sort(key=lambda item: item[0])
    stack.uids[:] = [uid for *_, uid in slices]
    volume = np.stack([values.T for _, _, values, _ in slices], axis=2)
    return _small(volume), affine_of([(place, header) for place, header, _, _ in slices])


def _geometry(ds: Dataset) -> Dataset:
    """The header alone, so that pixels are not kept for every slice."""
    for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if name in ds and int(ds.get("NumberOfFrames") or 1) == 1:
            del ds[name]
    return ds


def _along_normal(ds: Dataset, frame: int) -> float:
    place = place_of(ds)
    if place.origin is None or place.along_row is None or place.along_column is None or frame > 1:
        return float(frame)
    return float(np.dot(np.cross(place.along_row, place.along_column), place.origin))


def affine_of(slices: Sequence[tuple[float, Dataset]]) -> NDArray[np.float64]:
    """(4, 4): voxel (column, row, slice) → RAS mm (PS3.3 C.7.6.2.1.1, with the order of the first two axes changed)."""
    first, last = slices[0][1], slices[-1][1]
    place, end = place_of(first), place_of(last)
    down, along = place.spacing or (1.0, 1.0)
    affine = np.eye(4)
    if place.origin is None or place.along_row is None or place.along_column is None or end.origin is None:
        affine[:3, :3] = np.diag([along, down, float(first.get("SliceThickness") or 1.0)])
        return LPS_TO_RAS @ affine
    affine[:3, 0], affine[:3, 1], affine[:3, 3] = place.along_row * along, place.along_column * down, place.origin
    normal = np.cross(place.along_row, place.along_column)
    step = normal * float(first.get("SliceThickness") or 1.0)
    if len(slices) > 1:
        step = (end.origin - place.origin) / (len(slices) - 1)
        if not np.abs(np.dot(step, normal)) > 1e-6:
            raise ValueError("the slices lie in one place")
    affine[:3, 2] = step
    return LPS_TO_RAS @ affine


def _small(volume: Volume) -> Volume:
    """int16 where nothing is lost by it, else float32."""
    if np.array_equal(volume, np.rint(volume)) and volume.min() >= -32768 and volume.max() <= 32767:
        return volume.astype(np.int16)
    return volume.astype(np.float32)


def label_map(stack: Stack, shapes: Iterable[Shape], values: Mapping[str, int]) -> NDArray[np.uint8]:
    """(columns, rows, slices) of label values; where shapes overlap the later one's value holds."""
    rows, columns = stack.shape
    out = np.zeros((columns, rows, len(stack.uids)), np.uint8)
    where = {uid: n for n, uid in enumerate(stack.uids)}
    for shape in shapes:
        place = where.get((shape.sop_uid, shape.frame))
        if place is not None and shape.has_area:
            out[..., place][mask(shape, columns, rows).T > 0] = values.get(shape.label, values["Finding"])
    return out


def majority(maps: Sequence[NDArray[np.uint8]], values: Mapping[str, int]) -> NDArray[np.uint8]:
    """The value that more than half of the maps have, 0 where none has."""
    if not maps:
        return np.zeros(1, np.uint8)
    out = np.zeros_like(maps[0])
    for value in values.values():
        votes = np.sum([one == value for one in maps], axis=0)
        out[votes * 2 > len(maps)] = value
    return out


def packed(volume: Volume, affine: NDArray[np.float64]) -> bytes:
    """A .nii.gz, the same for the same volume."""
    import nibabel  # a fifth of a second, in every process that starts

    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 6, mtime=0)
