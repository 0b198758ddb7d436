"""A scan with its heat map burnt in, as a Secondary Capture (PS3.3 A.8.1): for viewers that draw no overlays."""

from __future__ import annotations

import datetime as dt

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import RLELossless

from inference.explain.maps import NOTICE, MapSet
from inference.explain.objects import finish, identity, source_item
from inference.explain.picture import Grey, Look, caption, one
from inference.explain.source import place_of


def secondary_capture(
    maps: MapSet, name: str, scan: Grey, header: Dataset, when: dt.datetime, look: Look | None = None
) -> hd.sc.SCImage:
    """One class over the scan: name, probability, colour bar and "Research use only" are in the pixels.

    scan    (rows, columns) display values in [0, 1] of the source at its own size
    header  of the source image, by `read_header`
    Pixel Spacing is that of the scan inside the picture, left out where the source has none.
    """
    look = look or Look()
    picture, place = one(maps, name, scan, look), place_of(header)
    left, top, width, height = picture.scan
    spacing = None
    if place.spacing is not None:
        spacing = (place.spacing[0] * place.rows / height, place.spacing[1] * place.columns / width)
    sc = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=picture.pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # replaced by the source's own below, which may be empty or oblique
        pixel_spacing=spacing,  # type: ignore[arg-type]  # declared for int, takes float
        transfer_syntax_uid=RLELossless,
        **identity(maps, "sc", str(look), name, maps.names.index(name) + 1),
    )
    sc.copy_patient_and_study_information(header)
    sc.PatientOrientation = header.get("PatientOrientation", "")
    sc.SourceImageSequence = Sequence([source_item(header)])
    sc.DerivationCodeSequence = Sequence([hd.sr.CodedConcept.from_code(codes.DCM.ImageProcessing)])
    drawn = f"{look.colours}, opacity {look.opacity:g}, {'smoothed' if look.smooth else 'flat cells'}"
    sc.DerivationDescription = (
        f"{caption(maps, name)}. Heat map of {maps.function_id} {maps.version} ({drawn}) over the scan at columns "
        f"{left} to {left + width - 1}, rows {top} to {top + height - 1}."
    )[:1024]
    sc.BurnedInAnnotation = str(header.get("BurnedInAnnotation") or "NO")  # of the patient's identity (C.7.6.1)
    sc.RecognizableVisualFeatures = "NO"
    sc.LossyImageCompression = str(header.get("LossyImageCompression") or "00")
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if sc.LossyImageCompression == "01" and header.get(keyword):
            setattr(sc, keyword, header[keyword].value)
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "")
    sc.Laterality = side if side in ("L", "R") else ""
    finish(sc, maps, header, "sc", when)
    sc.ImageComments = f"{NOTICE}. {caption(maps, name)}"
    return sc
