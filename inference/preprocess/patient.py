"""What is known of the patient as numbers for a network."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LENGTH = 6


def patient_vector(age: float | None, sex: str, view: str) -> NDArray[np.float32]:
    """(6,): age in half centuries around 50, age known, male, female, seen from behind (PA), from the front (AP).

    age  years; None or NaN when unknown. Unknown entries are 0, so that "unknown" is neither young nor old.
    """
    known = age is not None and not math.isnan(age) and 0 <= age <= 120
    years = (age - 50.0) / 50.0 if known and age is not None else 0.0
    return np.array([years, known, sex == "M", sex == "F", view == "PA", view == "AP"], dtype=np.float32)
