"""Seeded phantoms with known truth: breasts in four views and frontal chests, as 16-bit DICOM."""

from inference.phantoms.breast import BreastCase, BreastImage, breast_case
from inference.phantoms.chest import CHEST_CLASSES, ChestImage, chest
from inference.phantoms.truth import ImageTruth, LesionTruth

__all__ = [
    "CHEST_CLASSES",
    "BreastCase",
    "BreastImage",
    "ChestImage",
    "ImageTruth",
    "LesionTruth",
    "breast_case",
    "chest",
]
