"""What a return is made of: the objects or the report that stand for a case or a run, pseudonymous."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.explain.export import objects_of
from portal.archive.files import local_copy
from portal.archive.models import Instance, Study
from portal.consensus.models import Truth
from portal.core import storage
from portal.core.errors import Refused
from portal.export import gsps, masks, sr
from portal.export.kinds import KINDS, PLACES
from portal.export.maps.queries import held_back, map_sets
from portal.export.models import Return
from portal.export.report import Told
from portal.export.rules import derived_uid
from portal.export.shapes import Shape, contours, of_box, of_mark
from portal.export.sr import model
from portal.infer.models import Run
from portal.read.models import Reading
from portal.read.queries import mark_json
from portal.reports.actions import write_report
from portal.reports.models import Report

MOST_IMAGES = 200
OF_MAPS = {"model-seg": "seg", "model-pm": "pm", "model-sc": "sc"}


def images_of(study: Study) -> QuerySet[Instance]:
    """The images of a study that a result refers to, in the order in which they are read."""
    rows = Instance.objects.filter(study=study, rows__gt=0, opinion=False)
    return rows.order_by("series__number", "number", "sop_uid")


def headers(instances: Iterable[Instance]) -> list[Dataset]:
    """Headers as archived. Raises FileNotFoundError."""
    found: list[Dataset] = []
    for instance in instances:
        with local_copy(storage.archive(), instance.name) as path:
            found.append(dcmread(path, stop_before_pixels=True, force=True))
    return found


def content_of(row: Return) -> str:
    """SHA-256 of what a return would say now: equal contents are not sent twice. Raises Refused without truth.

    What goes out with the identity is another object than what goes out with the pseudonym.
    """
    who = "identified" if row.destination.restore_identity else "pseudonymous"
    if row.run is not None:
        said: list[Any] = [str(row.run.pk), row.run.finished_at, *row.run.images.values_list("pk", flat=True)]
    else:
        said = _said(row)
    return hashlib.sha256(json.dumps([row.format, who, said], sort_keys=True, default=str).encode()).hexdigest()


def _said(row: Return) -> list[Any]:
    truth = _truth(row)
    said: list[Any] = [truth.positive, truth.origin, truth.answers, truth.marks]
    if row.format == "report":
        return [_report(row).text, truth.answers]
    if row.format in {"gsps", "seg"}:
        said = [[r.pk, r.display, [mark_json(m) for m in r.marks.order_by("client_id")]] for r in _readings(row)]
    if row.format == "gsps":
        said.append(truth.marks)
    return [said, list(images_of(_study(row)).values_list("sop_uid", flat=True)[:MOST_IMAGES])]


def _truth(row: Return) -> Truth:
    truth = Truth.objects.filter(case=row.case).first()
    if truth is None:
        raise Refused("no_truth", "The case is not settled yet.")
    return truth


def _report(row: Return) -> Report:
    report = write_report(row.case_id) if row.case_id else None  # so that it says what the truth says now
    if report is None:
        raise Refused("no_report", "The report is not written yet.")
    return report


def _readings(row: Return) -> QuerySet[Reading]:
    rows = Reading.objects.filter(case=row.case, state=Reading.State.SUBMITTED)
    return rows.prefetch_related("marks").order_by("submitted_at", "pk")


def _study(row: Return) -> Study:
    study = row.case.study if row.case else row.run.study if row.run else None
    if study is None:
        raise Refused("nothing", "A return is of a case or of a run.")
    return study


class Names:
    """UIDs of a return's objects: `uid` follows from the content, `series` stays when the content changes."""

    def __init__(self, row: Return, content: str) -> None:
        study, of = _study(row).study_uid, f"{row.case_id or row.run_id}"
        self.uid = derived_uid(row.format, study, of, content)
        self.series = derived_uid(f"{row.format}-series", study, of, row.destination.restore_identity)


def objects(row: Return, content: str) -> list[Dataset]:
    """The DICOM objects of a return; [] when there is nothing that may be said.

    Raises Refused before there is truth, ValueError for what cannot be made of these images.
    """
    names = Names(row, content)
    if KINDS[row.format].of == "run":
        return _of_run(row, names)
    if row.format == "sr":
        return [_reading_sr(row, names)]
    marked = headers(_marked(row))
    shapes = list(reader_shapes(row))
    at = timezone.localtime(_truth(row).set_at)
    protocol = row.case.protocol if row.case else None
    version = f"protocol {protocol.number}" if protocol else ""
    if row.format == "seg":
        return masks.build(marked, masks.Marked(shapes, names.uid, names.series, at, version))
    overlay = gsps.Overlay(
        shapes=[*_truth_shapes(row), *shapes],
        windows=windows(row),
        uid=names.uid,
        series=names.series,
        at=at,
        title="Concord reading",
        device="Concord reading room",
        version=version,
        serial="reading",
    )
    return gsps.build(marked, overlay)


def _reading_sr(row: Return, names: Names) -> Dataset:
    truth, study = _truth(row), _study(row)
    protocol = truth.case.protocol
    result = sr.Result(
        form=protocol.form,
        answers=truth.answers,
        marks=truth.marks,
        labels=_labels(row),
        uid=names.uid,
        series_uid=names.series,
        at=timezone.localtime(truth.set_at),
    )
    return sr.build(headers(images_of(study)[:MOST_IMAGES]), next(iter(study.modalities), ""), result)


def _labels(row: Return) -> dict[str, str]:
    labels = row.case.protocol.labels if row.case else []
    return {str(label["code"]): str(label["name"]) for label in labels}


def reader_shapes(row: Return) -> Iterable[Shape]:
    """The marks of every reading as its reader drew them; readers are numbered by when they submitted."""
    for number, reading in enumerate(_readings(row), 1):
        for mark in reading.marks.order_by("client_id"):
            yield of_mark(mark_json(mark), _labels(row), f"READER {number}")


def _truth_shapes(row: Return) -> Iterable[Shape]:
    labels = _labels(row)
    for number, mark in enumerate(_truth(row).marks, 1):
        code = str(mark.get("label") or "")
        label = labels.get(code) or (code.replace("_", " ").capitalize() if code else "Finding")
        frame = int(mark.get("frame") or 1)
        yield of_box(mark["box"], mark["sop_uid"], frame, label, "TRUTH", str(number), label)


def windows(row: Return) -> dict[str, gsps.Window]:
    """The window under which each image was read last."""
    found: dict[str, gsps.Window] = {}
    for reading in _readings(row):
        for sop_uid, shown in reading.display.items():
            found[sop_uid] = gsps.Window(shown["centre"], shown["width"], bool(shown.get("inverted")))
    return found


def _marked(row: Return) -> QuerySet[Instance]:
    uids = {shape.sop_uid for shape in (*reader_shapes(row), *_truth_shapes(row))} | set(windows(row))
    return images_of(_study(row)).filter(sop_uid__in=uids)


# --- models ----------------------------------------------------------------------------------------
def _of_run(row: Return, names: Names) -> list[Dataset]:
    run = row.run
    if run is None or run.state != Run.State.DONE:
        raise Refused("wrong_state", "The run is not done.")
    if row.format in PLACES and held_back(run):
        return []
    at = timezone.localtime(run.finished_at or run.queued_at)
    told = run.provenance
    function = str(told.get("function") or run.version.function.slug)
    if row.format in OF_MAPS:
        made = []
        for instance, maps in map_sets(run) if run.images.filter(matrices__isnull=False).exists() else []:
            with local_copy(storage.archive(), instance.name) as path:
                made += [ds for _, ds in objects_of(maps, path, OF_MAPS[row.format], at)]
        return made
    instances = list(images_of(run.study).filter(results__run=run)[:MOST_IMAGES])
    places = list(run_shapes(run))
    if row.format == "model-gsps":
        overlay = gsps.Overlay(
            shapes=[*places, *_contours(run)],
            windows={},
            uid=names.uid,
            series=names.series,
            at=at,
            title=function,
            device=function,
            version=run.version.version,
            serial=run.version.weights_sha256,
        )
        return gsps.build(headers(instances), overlay)
    result = getattr(run, "result", None)
    case = {"score": result.score, "threshold": result.threshold} if result else {}
    case |= {f"mean of side {side}": value for side, value in (result.sides if result else {}).items()}
    says = model.ModelSays(
        function=function,
        version=run.version.version,
        weights_sha256=run.version.weights_sha256,
        case={name: value for name, value in case.items() if value is not None},
        call=result.call if result else None,
        images=[_image_says(image) for image in run.images.select_related("instance").order_by("pk")],
        shapes=places,
        uid=names.uid,
        series_uid=names.series,
        at=at,
    )
    return [model.build(headers(instances), next(iter(run.study.modalities), ""), says)]


def _image_says(image: Any) -> model.ImageSays:
    return model.ImageSays(
        image.instance.sop_uid, image.global_probabilities, image.present, image.thresholds, image.score
    )


def run_shapes(run: Run) -> Iterable[Shape]:
    """Lesions of the case and regions of its images as boxes or outlines; nothing where the gate holds places back."""
    if held_back(run):
        return
    result = getattr(run, "result", None)
    places = [(p["sop_uid"], p) for p in (result.lesions if result else [])]
    if not places:
        for image in run.images.select_related("instance").order_by("pk"):
            places += [(image.instance.sop_uid, region) for region in image.regions]
    for number, (sop_uid, place) in enumerate(places, 1):
        (x0, y0, x1, y1), label = place["box"], str(place["class_name"])
        drawn = [tuple(map(float, point)) for point in place.get("polygon") or ()]
        tool, points = ("contour", drawn) if len(drawn) > 2 else ("rectangle", [(x0, y0), (x1, y1)])
        words = f"{label.replace('_', ' ')} {place['score']:.2f}"
        yield Shape(sop_uid, 1, tool, tuple(points), label, "MODEL", str(number), words, float(place["score"]))  # type: ignore[arg-type]


def _contours(run: Run) -> Iterable[Shape]:
    """Outlines of the present classes' maps at their thresholds, a layer for each class."""
    if not run.images.filter(matrices__isnull=False).exists():
        return
    for instance, maps in map_sets(run):
        for name in maps.names:
            if not maps.present[name]:
                continue
            lines = contours(maps.of(name), maps.thresholds[name], instance.columns, instance.rows)
            for number, line in enumerate(lines, 1):
                layer = f"MAP {name.upper().replace('_', ' ')}"[:16].rstrip()
                words = f"{name.replace('_', ' ')} {maps.probabilities[name]:.2f}" if number == 1 else ""
                points = tuple((float(x), float(y)) for x, y in line)
                key = f"{instance.sop_uid}/{name}/{number}"
                yield Shape(instance.sop_uid, 1, "contour", points, name, layer, key, words)


# --- reports ---------------------------------------------------------------------------------------
def told(row: Return, header: Dataset, corrected: bool) -> Told:
    """The report of a case, of whom this header says it is (identity put back, or not)."""
    truth, report, study = _truth(row), _report(row), _study(row)
    return told_of(report, truth, header, study, corrected)


def told_of(report: Report, truth: Truth, header: Dataset, study: Study, corrected: bool) -> Told:
    """The same of a report that is there."""
    case = truth.case

    def text(keyword: str) -> str:
        return str(header.get(keyword) or "")

    return Told(
        id=f"{case.programme.slug}-{case.number}-{report.pk}".replace("_", "-")[-64:],  # FHIR's ids know no underscore
        patient_id=text("PatientID"),
        patient_issuer=text("IssuerOfPatientID"),
        patient_name=text("PatientName"),
        patient_birth=text("PatientBirthDate"),
        patient_sex=text("PatientSex"),
        study_uid=text("StudyInstanceUID"),
        study_date=text("StudyDate"),
        study_time=text("StudyTime"),
        accession=text("AccessionNumber"),
        description=study.description,
        text=report.text,
        form=case.protocol.form,
        answers=truth.answers,
        at=timezone.localtime(report.written_at),
        corrected=corrected,
        organisation=case.organisation.name,
    )


def first_header(row: Return) -> Dataset:
    """The header that says whose study it is. Raises Refused when the study has no image."""
    found = headers(images_of(_study(row))[:1])
    if not found:
        raise Refused("no_images", "The study has no image.")
    return found[0]
