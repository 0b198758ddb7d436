"""Is a picture what its header says: category, tones, orientation, cut, quality."""

from inference.check.categories import CATEGORIES, Category
from inference.check.result import InputCheck

__all__ = ["CATEGORIES", "Category", "InputCheck"]
