"""Taking a run's maps out."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

import structlog
from django.utils import timezone
from pydicom.dataset import Dataset

from inference.explain import NOTICE
from inference.explain.export import KINDS, objects_of_series
from inference.preprocess.errors import ImageError
from portal.archive.files import local_copy
from portal.core import storage
from portal.core.errors import Refused
from portal.export.maps.queries import map_sets
from portal.export.models import MapExport
from portal.infer.models import Run
from portal.infer.queries import access_run

log = structlog.get_logger(__name__)
IN_MEMORY = 16 << 20
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the zip of the same objects is the same zip


@dataclass(frozen=True)
class TakenOut:
    """A zip of DICOM files with a manifest of their SHA-256, read from its beginning, and its record."""

    file: IO[bytes]
    name: str
    record: MapExport


def take_out(user: Any, run_id: Any, kind: str, sop_uid: str = "") -> TakenOut:
    """Make the objects of a run's maps and record who took them out.

    kind     one of inference.explain.export.KINDS
    sop_uid  one image only
    The objects refer to the scan as it is archived: pseudonyms and the portal's UIDs. Coordinators, engineers and
    PACS administrators may. Raises Http404 for missing, forbidden and blinded runs alike; Refused for another kind,
    or when there is nothing that may leave (see `map_sets`).
    """
    run = access_run(user, run_id, "run")
    if kind not in KINDS:
        raise Refused("invalid", f"Kinds are {', '.join(KINDS)}.", status=422)
    found = map_sets(run, sop_uid)
    when = timezone.localtime(run.finished_at or run.queued_at)
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 – the answer closes it
    files: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        number = 1  # of the series' first image among those that have maps
        for _, group in groupby(found, key=lambda pair: pair[0].series_id):
            series = list(group)
            try:
                with ExitStack() as local:
                    paths = [local.enter_context(local_copy(storage.archive(), one.name)) for one, _ in series]
                    for place, stem, made in objects_of_series([maps for _, maps in series], paths, kind, when):
                        name = f"{number + place:03d}-{stem}.dcm"
                        files[name] = _add(out, name, _encoded(made))
            except (ImageError, FileNotFoundError) as error:
                raise Refused("unreadable_image", f"Series {series[0][0].series.number} cannot be read.") from error
            number += len(series)
        _add(out, "manifest.json", json.dumps(_manifest(run, kind, files), indent=1).encode())
    size = file.tell()
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    record = MapExport.objects.create(
        organisation_id=run.organisation_id,
        run=run,
        kind=kind,
        taken_by=user,
        objects_count=len(files),
        size=size,
        sha256=digest,
    )
    log.info("export.maps_taken", run=str(run.pk), kind=kind, user=user.pk, objects=len(files), size=size)
    return TakenOut(file, f"{run.version.function.slug}-{str(run.pk)[:8]}-{kind}.zip", record)


def _encoded(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _add(out: zipfile.ZipFile, name: str, data: bytes) -> str:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.compress_type = zipfile.ZIP_DEFLATED
    out.writestr(entry, data)
    return hashlib.sha256(data).hexdigest()


def _manifest(run: Run, kind: str, files: dict[str, str]) -> dict[str, Any]:
    return {
        "notice": f"{NOTICE}.",
        "kind": kind,
        "words": KINDS[kind],
        "study_uid": run.study.study_uid,
        "run": str(run.pk),
        "function": run.version.function.slug,
        "version": run.version.version,
        "weights_sha256": run.version.weights_sha256,
        "files": [{"name": name, "sha256": digest} for name, digest in files.items()],
    }
