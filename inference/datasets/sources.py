"""Which reader reads what, by the word that `--data` takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from inference.datasets import nih, phantom, table
from inference.datasets.base import ScanSet, SetError
from inference.datasets.splits import Split, split_patients
from inference.training.config import TrainConfig

Source = Callable[[TrainConfig, Collection[str] | None], ScanSet]
SOURCES: dict[str, tuple[Source, tuple[str, ...]]] = {
    "phantoms": (phantom.drawn, ("heatmap", "malignancy")),
    "folder": (phantom.folder, ("heatmap", "malignancy")),
    "nih": (nih.nih, ("heatmap",)),
    "nih64": (nih.nih64, ("heatmap",)),
    "table": (table.table, ("heatmap", "malignancy")),
}


def load(config: TrainConfig, only: Collection[str] | None = None) -> ScanSet:
    """The set that a configuration names, or the scans in it of the patients in `only`; its segments where the
    configuration asks for them.

    SetError for an unknown combination or a set that cannot be used.
    """
    if config.segments_of:
        from inference.segments.finder import load_finder
        from inference.segments.scans import segmented

        side = config.segments_of
        whole = load(replace(config, segments_of=0, input_size=(side, side)), only)
        return segmented(whole, load_finder(), config.input_size[0], config.map_size[0])
    source, families = SOURCES.get(config.data, (None, ()))
    if source is None or config.family not in families:
        raise SetError(f"no training set {config.data!r} for {config.family!r}")
    return source(config, only)


def split(config: TrainConfig, whole: ScanSet) -> Split:
    """The official test patients where the distribution names them, else a random part."""
    sealed = nih.official_test(Path(config.root), whole) if config.data == "nih" else None
    return split_patients(whole.patients, config.seed, config.shares, sealed)
