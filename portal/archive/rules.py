"""The scan category by which functions and programmes are chosen, and which objects are opinions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Filed:
    """A series: what its header says, what it was given instead (empty: nothing), and whether it is set aside."""

    modality: str
    body_part: str
    given_modality: str = ""
    given_body_part: str = ""
    set_aside: bool = False

    @property
    def category(self) -> tuple[str, str]:
        """(modality, body part); a given modality brings its own body part, which may be none."""
        return (self.given_modality, self.given_body_part) if self.given_modality else (self.modality, self.body_part)


def category(modalities: Sequence[str], body_part: str, series: Sequence[Filed]) -> tuple[list[str], str]:
    """(modalities, body part) of a study (seed 001, scan classifier data).

    modalities, body_part  of the study, as its headers say: the answer while no series was given another category
    Without a series that is not set aside: no modality, so that nothing fits.
    """
    if not any(one.given_modality or one.set_aside for one in series):
        return list(modalities), body_part
    left = [one.category for one in series if not one.set_aside]
    parts = [part for _, part in left if part]
    part = body_part if body_part in parts else next(iter(parts), "")
    return sorted({modality for modality, _ in left if modality}), part


# SOP classes that say what images show (PS3.4 B.5): families by the beginning of their UID, and single ones
_STORAGE = "1.2.840.10008.5.1.4.1.1."
SAYING = tuple(f"{_STORAGE}{family}." for family in (11, 88, 104))  # presentation states, reports, documents
SAYING_TOO = frozenset(
    _STORAGE + rest
    for rest in ("30", "66.4", "66.5", "66.7", "66.8", "481.3")  # parametric map, segmentations, structure set
)
OWN_MAKER = "Concord"  # Manufacturer of what the portal makes (PS3.3 C.7.5.1), secondary captures among it


def opinion(sop_class: str, manufacturer: str) -> bool:
    """Whether an object says what images show instead of being an image to be read.

    Pictures of other makers with findings drawn into them cannot be told from images and are not found by this.
    """
    return sop_class.startswith(SAYING) or sop_class in SAYING_TOO or manufacturer == OWN_MAKER
