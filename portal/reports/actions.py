"""Write the report of a settled case."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.consensus.models import Truth
from portal.programmes.models import Case
from portal.reports import rules
from portal.reports.models import Report


@transaction.atomic
def write_report(case_pk: int) -> Report | None:
    """Write the report of a case whose truth is known, and anew when its words change; twice has the effect of once."""
    case = Case.objects.select_for_update(of=("self",)).select_related("protocol", "study").get(pk=case_pk)
    truth = Truth.objects.filter(case=case).first()
    if truth is None:
        return None
    title = case.study.description or "/".join(case.study.modalities)
    text = rules.report_text(
        title, case.protocol.form, truth.answers, len(truth.marks), Truth.Origin(truth.origin).label.lower()
    )
    found = Report.objects.filter(case=case).first()
    if found and found.text == text:
        return found
    report, _ = Report.objects.update_or_create(
        case=case,
        defaults={
            "organisation_id": case.organisation_id,
            "template_id": rules.TEMPLATE_ID,
            "template_version": rules.TEMPLATE_VERSION,
            "text": text,
            "written_at": timezone.now(),
        },
    )
    return report
