"""Planted identities in pixels: images of made-up people with text burnt in, and what must go and what must stay."""

from tests.factories.burnt.corpus import Case, Planted, case, cases
from tests.factories.burnt.people import Person, person

__all__ = ["Case", "Person", "Planted", "case", "cases", "person"]
