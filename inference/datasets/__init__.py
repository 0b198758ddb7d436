"""Labelled scans as they are distributed: phantoms, NIH ChestX-ray14, tables, DICOM folders, cohorts."""

from inference.datasets.base import LeakageError, ScanSet, SetError
from inference.datasets.sources import SOURCES, load
from inference.datasets.splits import Split, read_split, split_patients

__all__ = ["SOURCES", "LeakageError", "ScanSet", "SetError", "Split", "load", "read_split", "split_patients"]
