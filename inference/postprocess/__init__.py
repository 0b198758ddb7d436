"""Pure rules on network outputs: case rule, gate, thresholds, regions."""

from inference.postprocess.case import ViewScore, case_findings, case_score, gate
from inference.postprocess.regions import find_regions, saliency
from inference.postprocess.thresholds import at_sensitivity, at_specificity, youden

__all__ = [
    "ViewScore",
    "at_sensitivity",
    "at_specificity",
    "case_findings",
    "case_score",
    "find_regions",
    "gate",
    "saliency",
    "youden",
]
