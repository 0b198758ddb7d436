"""Reading forms that come with Concord; a coordinator may change them in a new protocol version."""

from __future__ import annotations

from typing import Any

FINDINGS = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
]  # fmt: skip
TOOLS = ["length", "rectangle", "ellipse", "freehand", "arrow"]


def _choice(value: str, label: str = "") -> dict[str, str]:
    return {"value": value, "label": label or value}


MAMMOGRAPHY: list[dict[str, Any]] = [
    {"key": "recall", "label": "Recall", "type": "boolean", "required": True, "shortcut": "y/n"},
    {"key": "malignancy", "label": "Suspicion of malignancy", "type": "scale", "min": 0, "max": 100, "step": 1,
     "required": True},
    {"key": "birads", "label": "BI-RADS", "type": "choice", "required": True,
     "choices": [_choice(str(n)) for n in range(6)]},
    {"key": "density", "label": "Density", "type": "choice", "required": True,
     "choices": [_choice(c) for c in "ABCD"]},
    {"key": "comment", "label": "Comment", "type": "text", "required": False},
]  # fmt: skip
MAMMOGRAPHY_LABELS = [
    {"code": "mass", "name": "Mass", "color_index": 0},
    {"code": "calcification", "name": "Calcification", "color_index": 1},
    {"code": "distortion", "name": "Architectural distortion", "color_index": 2},
    {"code": "asymmetry", "name": "Asymmetry", "color_index": 3},
]

CHEST: list[dict[str, Any]] = [
    {"key": "abnormal", "label": "Abnormal", "type": "boolean", "required": True, "shortcut": "y/n"},
    {"key": "findings", "label": "Findings", "type": "multi", "required": False, "show_if": {"abnormal": True},
     "choices": [_choice(f, f.replace("_", " ")) for f in FINDINGS]},
    {"key": "suspicion", "label": "Suspicion", "type": "scale", "min": 0, "max": 100, "step": 1, "required": True},
    {"key": "comment", "label": "Comment", "type": "text", "required": False},
]  # fmt: skip
CHEST_LABELS = [{"code": f, "name": f.replace("_", " "), "color_index": i} for i, f in enumerate(FINDINGS)]
