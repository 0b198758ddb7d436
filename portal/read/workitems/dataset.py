"""A work item as DICOM JSON: what PS3.4 table CC.2.5-3 has a performer or a watcher be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from portal.accounts.models import User
from portal.archive.attributes import tag_of, vr_of
from portal.archive.models import Instance
from portal.programmes.models import Assignment
from portal.read.models import WorkitemClaim
from portal.read.workitems import rules

Json = dict[str, Any]
# series UID → [(SOP Class UID, SOP Instance UID), …] of a study's images
RESCHEDULED = ("110528", "DCM", "Discontinued Procedure Step rescheduled")  # CID 9300: it is on offer again
Images = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Workitem:
    """One round of an assignment, as one person may see it.

    mine    the person's own: in their hands, finished by them, or given back by them
    named   whether its performer may be named to the person
    claim   the claim by UPS-RS behind it, where there is one
    """

    row: Assignment
    number: int
    mine: bool
    named: bool
    claim: WorkitemClaim | None = None

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return rules.uid_of(self.row.pk, self.number)

    @property
    def over(self) -> bool:
        """Whether this round was given back: its assignment is on offer again as another work item."""
        return self.number < self.row.given_back

    @property
    def state(self) -> str:
        """Procedure Step State."""
        return rules.CANCELED if self.over else rules.STATES[self.row.state]

    @property
    def performer(self) -> User | None:
        """Who does or did it, if the person may know."""
        if self.over:
            return self.claim.reader if self.claim else None
        return self.row.reader if self.mine or self.named else None


def images_of(studies: Collection[int]) -> dict[int, dict[str, list[tuple[str, str]]]]:
    """Study key → its images by series, in reading order: what the reading room shows, and no object that says more."""
    found: dict[int, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    rows = Instance.objects.filter(study__in=studies, rows__gt=0, opinion=False)
    rows = rows.order_by("study_id", "series__number", "series_id", "number", "pk")
    for study, series, sop_class, sop in rows.values_list("study_id", "series__series_uid", "sop_class", "sop_uid"):
        found[study][series].append((sop_class, sop))
    return found


def element(keyword: str, *values: Any) -> Json:
    """One attribute as {tag: DICOM JSON}; empty without values."""
    tag = tag_of(keyword)
    filled = [value for value in values if value not in (None, "")]
    vr = vr_of(tag)
    if vr == "PN":
        filled = [{"Alphabetic": str(value)} for value in filled]
    return {tag: {"vr": vr, **({"Value": filled} if filled else {})}}


def first(given: Any, tag: str) -> Any:
    """The first value of an attribute of a data set as it came, whatever came; None when there is none."""
    found = given.get(tag) if isinstance(given, dict) else None
    values = found.get("Value") if isinstance(found, dict) else None
    return values[0] if isinstance(values, list) and values else None


def merged(*elements: Json) -> Json:
    """Attributes as one data set, in order of their tags."""
    return dict(sorted((tag, value) for one in elements for tag, value in one.items()))


def code(value: str, scheme: str, meaning: str) -> Json:
    """An item of a code sequence (PS3.3 table 8.8-1)."""
    return merged(
        element("CodeValue", value), element("CodingSchemeDesignator", scheme), element("CodeMeaning", meaning)
    )


def workitem(item: Workitem, images: Images) -> Json:
    """The whole work item. The Transaction UID is its holder's alone and never told (PS3.18 11.5.3.3)."""
    row, study = item.row, item.row.case.study
    patient = study.patient
    return merged(
        element("SpecificCharacterSet", "ISO_IR 192"),
        element("SOPClassUID", rules.SOP_CLASS),
        element("SOPInstanceUID", item.uid),
        # Unified Procedure Step Scheduled Procedure Information (PS3.3 C.30.2)
        element("ScheduledProcedureStepPriority", rules.priority_of(row.priority)),
        element("ScheduledProcedureStepModificationDateTime", rules.dt(_changed(item))),
        element("ProcedureStepLabel", rules.LABELS[row.kind]),
        element("WorklistLabel", row.case.programme.name[:64]),
        element("ScheduledProcessingParametersSequence"),
        element("ScheduledStationNameCodeSequence"),
        element("ScheduledStationClassCodeSequence"),
        element("ScheduledStationGeographicLocationCodeSequence"),
        element("ScheduledHumanPerformersSequence", *_scheduled(item)),
        element("ScheduledProcedureStepStartDateTime", rules.dt(row.created_at)),
        element("ScheduledWorkitemCodeSequence", code(*rules.WORKITEM_CODE)),
        element("InputReadinessState", rules.READY),
        element("InputInformationSequence", *_inputs(study.study_uid, images)),
        element("StudyInstanceUID", study.study_uid),
        # Unified Procedure Step Relationship (PS3.3 C.30.3)
        element("PatientName", patient.name),
        element("PatientID", patient.pseudonym),
        element("IssuerOfPatientID"),
        element("OtherPatientIDsSequence"),
        element("PatientBirthDate"),
        element("PatientSex", patient.sex),
        element("AdmissionID"),
        element("IssuerOfAdmissionIDSequence"),
        element("AdmittingDiagnosesDescription"),
        element("AdmittingDiagnosesCodeSequence"),
        element("ReferencedRequestSequence", _request(study)),
        # Progress and Performed Procedure Information (PS3.3 C.30.1, C.30.4)
        element("ProcedureStepState", item.state),
        element("ProcedureStepProgressInformationSequence", *_progress(item)),
        element("UnifiedProcedureStepPerformedProcedureSequence", *_performed(item)),
    )


def _changed(item: Workitem) -> Any:
    if item.over and item.claim:
        return item.claim.ended_at or item.row.state_since
    return item.row.state_since


def _inputs(study_uid: str, images: Images) -> Iterable[Json]:
    """Referenced Instances and Access, a series each (PS3.3 table 10-3b), by WADO-RS."""
    for series_uid, found in images.items():
        url = f"{settings.PUBLIC_URL}/dicomweb/studies/{study_uid}/series/{series_uid}"
        yield merged(
            element("TypeOfInstances", "DICOM"),
            element("StudyInstanceUID", study_uid),
            element("SeriesInstanceUID", series_uid),
            element("ReferencedSOPSequence", *(
                merged(element("ReferencedSOPClassUID", sop_class), element("ReferencedSOPInstanceUID", sop))
                for sop_class, sop in found
            )),
            element("WADORSRetrievalSequence", element("RetrieveURL", url)),
        )  # fmt: skip


def _request(study: Any) -> Json:
    return merged(
        element("StudyInstanceUID", study.study_uid),
        element("AccessionNumber", study.accession[:16]),
        element("IssuerOfAccessionNumberSequence"),
        element("PlacerOrderNumberImagingServiceRequest"),
        element("OrderPlacerIdentifierSequence"),
        element("FillerOrderNumberImagingServiceRequest"),
        element("OrderFillerIdentifierSequence"),
        element("RequestedProcedureID"),
        element("RequestedProcedureDescription", study.description[:64]),
        element("RequestedProcedureCodeSequence"),
        element("ReasonForTheRequestedProcedure"),
        element("ReasonForRequestedProcedureCodeSequence"),
        element("RequestedProcedureComments"),
        element("ConfidentialityCode"),
        element("NamesOfIntendedRecipientsOfResults"),
        element("ImagingServiceRequestComments"),
        element("RequestingPhysician"),
        element("RequestingService"),
        element("IssueDateOfImagingServiceRequest"),
        element("IssueTimeOfImagingServiceRequest"),
        element("ReferringPhysicianName"),
    )


def _person(user: User, organisation: str) -> Json:
    return merged(
        element("HumanPerformerCodeSequence", code(str(user.pk), "99CONCORD", str(user)[:64])),
        element("HumanPerformerName", str(user)[:64]),
        element("HumanPerformerOrganization", organisation[:64]),
    )


def _scheduled(item: Workitem) -> list[Json]:
    """Whom an offer was pushed to."""
    user = item.performer
    return [_person(user, item.row.organisation.name)] if user and item.state == rules.SCHEDULED else []


def _progress(item: Workitem) -> list[Json]:
    claim = item.claim
    if claim is None or not (item.mine or item.named):
        return []
    parts = []
    if claim.progress:
        parts += [
            element("ProcedureStepProgress", claim.progress.get("percent")),
            element("ProcedureStepProgressDescription", claim.progress.get("words")),
        ]
    if item.state == rules.CANCELED:
        if claim.ended_at:
            parts.append(element("ProcedureStepCancellationDateTime", rules.dt(claim.ended_at)))
        parts.append(element("ReasonForCancellation", claim.reason.get("words")))
        given = claim.reason.get("code")
        parts.append(element("ProcedureStepDiscontinuationReasonCodeSequence", code(*(given or RESCHEDULED))))
    kept = merged(*parts)
    return [{tag: value for tag, value in kept.items() if "Value" in value}] if kept else []


def _performed(item: Workitem) -> list[Json]:
    """Who did it and when, once it is begun; what the reading says leaves the portal by its exports alone."""
    row, user = item.row, item.performer
    if item.state not in {rules.IN_PROGRESS, rules.COMPLETED} or user is None:
        return []
    ended = element("PerformedProcedureStepEndDateTime", rules.dt(row.submitted_at)) if row.submitted_at else {}
    return [
        merged(
            element("ActualHumanPerformersSequence", _person(user, row.organisation.name)),
            element("PerformedStationNameCodeSequence"),
            element("PerformedStationClassCodeSequence"),
            element("PerformedStationGeographicLocationCodeSequence"),
            element("PerformedProcessingParametersSequence"),
            element("PerformedProcedureStepStartDateTime", rules.dt(row.claimed_at or row.state_since)),
            element("PerformedWorkitemCodeSequence", code(*rules.WORKITEM_CODE)),
            element("OutputInformationSequence"),
            ended,
        )
    ]
