"""DiagnosticReport of FHIR R4 (hl7.org/fhir/R4/diagnosticreport.html) with the answers as contained Observations."""

from __future__ import annotations

import base64
import re
from typing import Any

from portal.export.report import LOINC, LOINC_WORDS, Told, answered, words_of

QUESTIONS, ANSWERS, REPORTS = "urn:concord:question", "urn:concord:answer", "urn:concord:report"
PATIENTS, ACCESSIONS = "urn:concord:patient", "urn:concord:accession"


def build(told: Told) -> dict[str, Any]:
    """The resource as JSON. Subject and study are named by identifier, so that the receiver finds its own."""
    status = "amended" if told.corrected else "final"
    subject: dict[str, Any] = {
        "type": "Patient",
        "identifier": {"system": (told.patient_issuer and f"urn:issuer:{told.patient_issuer}") or PATIENTS,
                       "value": told.patient_id},
    }  # fmt: skip
    if name := " ".join(part for part in told.patient_name.split("=")[0].split("^") if part):
        subject["display"] = name
    said = [(q, one) for q, value in answered(told) for one in (value if isinstance(value, list) else [value])]
    contained = [_observation(n, q, value, status, subject) for n, (q, value) in enumerate(said, 1)]
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": told.id,
        "identifier": [{"system": REPORTS, "value": told.id}],
        "status": status,
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": LOINC, "display": LOINC_WORDS}]},
        "subject": subject,
        "issued": told.at.isoformat(timespec="seconds"),
        "performer": [{"display": told.organisation}],
        "imagingStudy": [{"type": "ImagingStudy",
                          "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{told.study_uid}"}}],
        "conclusion": told.text,
        "presentedForm": [{"contentType": "text/plain; charset=utf-8", "title": "Report",
                           "data": base64.b64encode(told.text.encode()).decode()}],
    }  # fmt: skip
    if told.accession:
        report["basedOn"] = [{"type": "ServiceRequest", "identifier": {"system": ACCESSIONS, "value": told.accession}}]
    if day := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", told.study_date):
        report["effectiveDateTime"] = "-".join(day.groups())
    if contained:
        report["contained"] = contained
        report["result"] = [{"reference": f"#{one['id']}"} for one in contained]
    return report


def _observation(number: int, question: Any, value: Any, status: str, subject: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"q{number}",
        "status": status,
        "code": {"coding": [{"system": QUESTIONS, "code": question["key"]}], "text": question["label"]},
        "subject": subject,
    }
    if isinstance(value, bool):
        out["valueBoolean"] = value
    elif isinstance(value, int | float):
        out["valueQuantity"] = {"value": value, "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"}
    elif question["type"] == "text":
        out["valueString"] = value
    else:
        coding = {"system": ANSWERS, "code": str(value), "display": words_of(question, value)}
        out["valueCodeableConcept"] = {"coding": [coding]}
    return out
