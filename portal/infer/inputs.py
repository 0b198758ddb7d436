"""Network inputs made of the archive's images, kept on a shelf by content and preparation. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from inference.preprocess import Damaged, Limits, Preparation, Read, ViewHint, pack, unpack
from inference.preprocess.errors import ImageError
from portal.archive.files import local_copy
from portal.archive.models import Instance, Study
from portal.archive.shelf import Shelf
from portal.core import storage

log = structlog.get_logger(__name__)

MAX_IMAGES = 64
SHELF = Shelf("prepared", settings.PREPARED_MB << 20)
NEEDED = ("pk", "study_id", "sop_uid", "sha256", "name", "laterality", "view")


def images_of(studies: Iterable[Study]) -> dict[int, list[Instance]]:
    """The images that functions look at, by the study's key: in the order of the series, MAX_IMAGES at most."""
    rows = (
        Instance.objects.filter(rows__gt=0, opinion=False, series__set_aside=False)
        .order_by("series__number", "series_id", "number", "pk")
        .only(*NEEDED)
    )
    found: dict[int, list[Instance]] = {study.pk: [] for study in studies}
    small = [study.pk for study in studies if study.instance_count <= MAX_IMAGES]
    for instance in rows.filter(study__in=small):
        found[instance.study_id].append(instance)
    for pk in found.keys() - set(small):
        found[pk] = list(rows.filter(study=pk)[:MAX_IMAGES])
    return found


def preparation_of(manifest: dict[str, Any]) -> Preparation | None:
    """How a registered version wants its images; None where that takes a network, or was not written down."""
    if "preprocessing" not in manifest or (manifest.get("training") or {}).get("segments_of"):
        return None
    height, width = manifest["input_size"]
    return Preparation(manifest["preprocessing"], (height, width))


def prepared(instance: Instance, preparation: Preparation, limits: Limits | None = None) -> Read:
    """The input of one image: from the shelf, or made now and put there.

    Both ways give the same values. Raises ImageError, and FileNotFoundError when the image is not in the archive.
    """
    key = preparation.key(instance.sha256)
    data = SHELF.find(key)
    if data is not None:
        try:
            return unpack(data).hinted(hint_of(instance))
        except Damaged as error:
            log.warning("infer.damaged_input", sop_uid=instance.sop_uid, error=str(error))
    with local_copy(storage.archive(), instance.name) as path:
        data = pack(preparation.read(path, limits))
    SHELF.keep(key, data)
    return unpack(data).hinted(hint_of(instance))


def read_by(instance: Instance, read: Callable[[Path, ViewHint], Read]) -> Read:
    """What a function reads in one image itself. Raises as `prepared`."""
    with local_copy(storage.archive(), instance.name) as path:
        return read(path, hint_of(instance))


def hint_of(instance: Instance) -> ViewHint:
    """Side and view as the archive knows them."""
    return ViewHint(instance.laterality or None, instance.view or None)


def prepare_study(study: Study, preparation: Preparation) -> None:
    """Put the inputs of a study's images on the shelf; what cannot be used is left for the run to name."""
    for instance in images_of([study])[study.pk]:
        if SHELF.has(preparation.key(instance.sha256)):
            continue
        try:
            prepared(instance, preparation)
        except (ImageError, FileNotFoundError) as error:
            log.info("infer.not_prepared", sop_uid=instance.sop_uid, error=str(error))
