"""Maps as a DICOM Parametric Map (PS3.3 A.75): 32-bit floating point probabilities."""

from __future__ import annotations

import datetime as dt
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

from inference.explain.codes import finding
from inference.explain.maps import NOTICE, MapSet
from inference.explain.objects import finish, identity, on_grid, planes, source_item
from inference.explain.source import Place, orientation, place_of

REGIONS = {"CHEST": codes.SCT.Chest, "BREAST": codes.SCT.Breast}


def parametric_map(maps: MapSet, header: Dataset, when: dt.datetime, name: str | None = None) -> hd.pm.ParametricMap:
    """One N×N frame for each class, value = probability = matrix / 255 in float32.

    header  of the source image, by `read_header`
    name    this class alone, in the same series as the others made alone
    Every frame says by its Real World Value Mapping which class it is (quantity, label). The grid lies over the
    whole image: its pixel spacing is the image's times rows / N and columns / N, left out where the image has none.
    """
    own = identity(maps, "pm", "alone" if name else "all", name or "", maps.names.index(name) + 1 if name else 1)
    maps = maps.select([name]) if name else maps
    place = place_of(header)
    if place.in_patient:
        pm = on_planes(maps, [header], own, planes(place, header, maps.cells))
    else:
        pm = on_planes(maps, [_placed(header, maps, place)], own)
        _of_projection(pm, header, place)
    anatomy(pm, header)
    finish(pm, maps, header, "pm", when)
    return pm


def on_planes(
    maps: MapSet, sources: list[Dataset], own: dict[str, Any], placed: dict[str, Any] | None = None
) -> hd.pm.ParametricMap:
    """The object with frames of N×N, one for each slice and class; anatomy and `finish` are still to come.

    own     what `identity` says
    placed  arguments for highdicom that put the frames into the patient; as the sources lie when there are none
    """
    values = maps.matrix.astype(np.float32) / np.float32(255)
    pm = hd.pm.ParametricMap(
        source_images=sources,
        pixel_array=np.moveaxis(values if maps.slices else values[:, None], 0, -1),  # (M, N, N, K)
        real_world_value_mappings=[[_mapping(name)] for name in maps.names],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        contains_recognizable_visual_features=False,
        content_label="HEATMAP",
        content_description=f"{NOTICE}: {maps.function_id}"[:64],
        image_flavor="VOLUME" if placed else "STATIC",
        derived_pixel_contrast="QUANTITY",
        **own,
        **(placed or {}),
    )
    _label_frames(pm, maps)
    return pm


def _placed(header: Dataset, maps: MapSet, place: Place) -> Dataset:
    """The header on the grid, in a frame of reference of the map's own.

    A projection has no place in the patient, and what frame of reference it names is shared by other views; but a
    parametric map must have one with positions (A.75.3, A.75.5). So the map founds one: its origin is the centre of
    the first cell, its axes run as Patient Orientation says, by the first letter of each direction.
    """
    grid = on_grid(header, maps.cells)
    grid.FrameOfReferenceUID, grid.PositionReferenceIndicator = maps.uid("frame"), ""
    grid.ImagePositionPatient, grid.ImageOrientationPatient = [0, 0, 0], orientation(header)
    grid.PixelSpacing = [DSfloat(value, auto_format=True) for value in place.cell_spacing(maps.cells) or (1, 1)]
    grid.SliceThickness = None
    return grid


def _label_frames(pm: hd.pm.ParametricMap, maps: MapSet) -> None:
    """Frames are told apart by their class, which Frame Label says, and in a volume by their place too."""
    index = pm.DimensionIndexSequence[0]
    dimensions = [("FrameLabel", "FrameContentSequence", "Class")]
    if maps.slices:
        dimensions.append(("ImagePositionPatient", "PlanePositionSequence", "Place"))
    items = Sequence(_dimension(index.DimensionOrganizationUID, *dimension) for dimension in dimensions)
    setattr(pm, "DimensionIndexSequence", items)  # noqa: B010 – typed as highdicom's own subclass
    for number, frame in enumerate(pm.PerFrameFunctionalGroupsSequence):
        label, place = divmod(number, maps.slices or 1)  # highdicom writes all slices of a class, then the next class
        frame.FrameContentSequence[0].FrameLabel = maps.names[label][:64]
        frame.FrameContentSequence[0].DimensionIndexValues = [label + 1, place + 1] if maps.slices else [label + 1]


def _dimension(organisation: str, keyword: str, group: str, label: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organisation
    item.DimensionIndexPointer, item.FunctionalGroupPointer = tag_for_keyword(keyword), tag_for_keyword(group)
    item.DimensionDescriptionLabel = label
    return item


def _mapping(name: str) -> hd.pm.RealWorldValueMapping:
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=name[:16],
        lut_explanation=f"Probability of {name.replace('_', ' ').lower()}"[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.Probability,
    )
    # the quantity's item says which finding the probability is of (PS3.3 C.7.6.16.2.11, CID 7180)
    item = hd.sr.CodeContentItem(
        name=codes.SCT.AssociatedMorphology,
        value=finding(name),
    )
    mapping.QuantityDefinitionSequence.append(item)
    return mapping


def _of_projection(pm: hd.pm.ParametricMap, header: Dataset, place: Place) -> None:
    """What the object says when its source has no patient coordinates."""
    measures = pm.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if place.spacing is None:
        del measures.PixelSpacing  # a made-up spacing would be measured with
    for frame in pm.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            derivation.SourceImageSequence = Sequence([source_item(header)])  # resampled: pixels do not correspond


def anatomy(pm: hd.pm.ParametricMap, header: Dataset) -> None:
    """Frame Anatomy (PS3.3 C.7.6.16.2.8), mandatory: the source's region and side."""
    region = header.get("AnatomicRegionSequence")
    if not region:
        part = str(header.get("BodyPartExamined") or ("BREAST" if header.Modality == "MG" else "")).upper()
        region = Sequence([hd.sr.CodedConcept.from_code(REGIONS.get(part, codes.SCT.EntireBody))])
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "U")
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = region, side if side in ("L", "R", "B") else "U"
    pm.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = Sequence([anatomy])
