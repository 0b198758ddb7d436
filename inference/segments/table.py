"""Which body regions a class of finding belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from inference.segments.regions import Regions
from inference.segments.rules import LUNGS

HEART = ("heart",)
EVERYWHERE = (*LUNGS, *HEART)
# The classes of NIH ChestX-ray14; a hernia shows behind the heart, an oedema starts beside it.
CLASS_REGIONS: dict[str, tuple[str, ...]] = {
    "Atelectasis": LUNGS, "Cardiomegaly": HEART, "Effusion": LUNGS, "Infiltration": LUNGS, "Mass": EVERYWHERE,
    "Nodule": LUNGS, "Pneumonia": LUNGS, "Pneumothorax": LUNGS, "Consolidation": LUNGS, "Edema": EVERYWHERE,
    "Emphysema": LUNGS, "Fibrosis": LUNGS, "Pleural_Thickening": LUNGS, "Hernia": HEART,
}  # fmt: skip
MARGIN = 0.03  # of the scan's side: pleura and costal angle lie at the edge of what the finder draws


def regions_of(class_name: str) -> tuple[str, ...]:
    """Regions of a class; all of them for one that the table does not know."""
    return CLASS_REGIONS.get(class_name, EVERYWHERE)


def class_masks(found: Regions, classes: Sequence[str], n: int, margin: float = MARGIN) -> NDArray[np.uint8]:
    """(K, n, n) of 0 and 1 over the whole scan: where a heat map of each class may be shown.

    A class whose regions were not all found is shown everywhere: what is missing must not hide a finding.
    """
    near: dict[str, NDArray[np.bool_]] = {}
    for name, mask in found.masks.items():
        distance = ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)
        wide = (distance <= margin * mask.shape[0]).astype(np.float32)
        small = np.asarray(Image.fromarray(wide).resize((n, n), Image.Resampling.BOX))
        near[name] = small >= 0.5
    out = np.ones((len(classes), n, n), np.uint8)
    for k, class_name in enumerate(classes):
        wanted = regions_of(class_name)
        if not set(wanted) & set(found.missing):
            out[k] = np.logical_or.reduce([near[name] for name in wanted])
    return out
