"""What can be returned, and to which kind of destination. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OBJECTS, REPORT = frozenset({"dimse", "dicomweb"}), frozenset({"mllp", "fhir"})


@dataclass(frozen=True)
class Kind:
    """words  for people; of  "case" (a settled case) or "run" (a model's run); takers  kinds of destination"""

    words: str
    of: str
    takers: frozenset[str]


KINDS: dict[str, Kind] = {
    "sr": Kind("Reading: structured report (TID 1500)", "case", OBJECTS),
    "gsps": Kind("Reading: marks and windows as presentation state", "case", OBJECTS),
    "seg": Kind("Reading: marks as segmentation", "case", OBJECTS),
    "report": Kind("Reading: report", "case", REPORT),
    "model-sr": Kind("Model: structured report (TID 1500)", "run", OBJECTS),
    "model-gsps": Kind("Model: outlines and contours as presentation state", "run", OBJECTS),
    "model-seg": Kind("Model: probabilities as segmentation", "run", OBJECTS),
    "model-pm": Kind("Model: parametric map", "run", OBJECTS),
    "model-sc": Kind("Model: heat maps as secondary capture", "run", OBJECTS),
}
# kinds that say where something is: a malignancy run that does not call its case gives none of them
PLACES = frozenset({"model-gsps", "model-seg", "model-pm", "model-sc"})


def wanted(wants: list[str], taker: str, of: str) -> list[str]:
    """The kinds that a destination of this kind wants of cases ("case") or runs ("run"), in the table's order."""
    return [key for key, kind in KINDS.items() if key in wants and kind.of == of and taker in kind.takers]
