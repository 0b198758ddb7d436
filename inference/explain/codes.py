"""Codes for classes: SNOMED CT and DICOM where PS3.16 lists the concept, else the project's own scheme."""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

SCHEME = "99CONCORD"  # a private designator begins with 99 (PS3.16 8.2)

FINDINGS = {
    "Cardiomegaly": codes.SCT.Cardiomegaly,
    "Effusion": codes.SCT.PleuralEffusion,
    "Infiltration": codes.DCM.Infiltrate,
    "Mass": codes.SCT.Mass,
    "Nodule": codes.SCT.Nodule,
    "Pneumothorax": codes.SCT.Pneumothorax,
    "Edema": codes.SCT.PulmonaryEdema,
    "Fibrosis": codes.SCT.Fibrosis,
    "malignancy": codes.SCT.MalignantNeoplasmPrimary,
}


def finding(name: str) -> CodedConcept:
    """The code of a class; classes that PS3.16 does not list get their own name in scheme 99CONCORD."""
    if name in FINDINGS:
        return CodedConcept.from_code(FINDINGS[name])
    return CodedConcept(name.upper()[:16], SCHEME, name.replace("_", " ")[:64])
