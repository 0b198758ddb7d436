"""Scan categories that the check tells apart, and what a header claims of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydicom.dataset import Dataset

Category = Literal["chest_frontal", "chest_lateral", "mammogram", "ct", "other"]
CATEGORIES: tuple[Category, ...] = ("chest_frontal", "chest_lateral", "mammogram", "ct", "other")
TITLES: dict[Category, str] = {
    "chest_frontal": "a frontal chest x-ray",
    "chest_lateral": "a lateral chest x-ray",
    "mammogram": "a mammogram",
    "ct": "a CT slice",
    "other": "none of chest x-ray, mammogram and CT slice",
}
TURNED = ("chest_frontal", "chest_lateral")  # categories in which up is up
PROJECTION = {"CR", "DX", "RG", "XR", "RF", "DR"}
LATERAL = {"LL", "RL", "LAT", "LATERAL", "LLD", "RLD"}
FRONTAL = {"PA", "AP"}
CHEST = {"CHEST", "THORAX", "LUNG", "LUNGS"}
# View codes of PS3.16 CID 4010 that are lateral, SNOMED CT and retired SRT.
LATERAL_CODES = {"399067008", "399198007", "R-10232", "399173006", "R-10236"}


@dataclass(frozen=True)
class Claim:
    """What a header says. `category` None where it says too little; `words` as a reader would say it."""

    category: Category | None
    words: str
    photometric: str = ""


def claim_of(header: Dataset) -> Claim:
    """Category by Modality, BodyPartExamined, ViewPosition and ViewCodeSequence (PS3.3 C.7.3.1, C.8.11.2)."""
    modality = str(header.get("Modality", "") or "").strip().upper()
    part = str(header.get("BodyPartExamined", "") or "").strip().upper()
    view = str(header.get("ViewPosition", "") or "").strip().upper()
    photometric = str(header.get("PhotometricInterpretation", "") or "")
    codes = {str(item.get("CodeValue", "")) for item in header.get("ViewCodeSequence") or []}
    words = " ".join(text for text in (modality, part, view) if text) or "nothing"
    category: Category | None = None
    if modality == "MG":
        category = "mammogram"
    elif modality == "CT":
        category = "ct"
    elif modality in PROJECTION:
        lateral = view in LATERAL or bool(codes & LATERAL_CODES)
        if part in CHEST or (not part and view in FRONTAL):
            category = "chest_lateral" if lateral else "chest_frontal" if view in FRONTAL else None
            if category is None and part in CHEST:
                words += " (no view)"
        elif part:
            category = "other"
    elif modality and modality not in {"OT", "SC"}:
        category = "other"
    return Claim(category, words, photometric)


def agrees(claim: Claim, found: Category) -> bool:
    """Whether a picture of this category may have that header; a header that says nothing claims nothing."""
    if claim.category is not None:
        return claim.category == found
    return "(no view)" not in claim.words or found in TURNED
