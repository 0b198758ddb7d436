"""The report of a case: what it says, that it follows the truth, who may read it."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.consensus.actions import merge_case, set_truth
from portal.programmes.forms import CHEST, MAMMOGRAPHY
from portal.reports import tasks
from portal.reports.models import Report
from portal.reports.rules import report_text
from portal.second_read.actions import compare_reading
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case, submit

__all__ = ["cast", "plain_static"]


def client(cast: Cast, name: str) -> Client:
    one = Client()
    one.force_login(getattr(cast, name))
    return one


def test_a_text_word_by_word() -> None:
    said = {"recall": True, "malignancy": 80, "birads": "4", "density": "B", "comment": ""}
    text = report_text("Screening", MAMMOGRAPHY, said, 2, "consensus")
    assert text.splitlines() == [
        "SCREENING",
        "",
        "Recall: yes",
        "Suspicion of malignancy: 80 of 100",
        "BI-RADS: 4",
        "Density: B",
        "Marks: 2",
        "",
        "Settled by consensus.",
        "Research use only. Not a diagnosis.",
    ]
    chest = report_text("Chest", CHEST, {"abnormal": True, "findings": ["Mass", "Pleural_Thickening"]}, 0, "pathology")
    assert "Findings: Mass, Pleural Thickening" in chest and "Marks: none" in chest


@pytest.mark.django_db(transaction=True)
def test_from_the_reading_to_the_page_and_the_file(cast: Cast) -> None:
    case = open_case(cast, score=0.9)
    path = f"/programmes/{case.programme.slug}/cases/{case.number}/report/"
    carol = client(cast, "carol")
    assert "No report yet" in carol.get(path).content.decode()
    compare_reading(submit(cast.alice, case.assignments.get(), answers(True, 92, comment="<b>spiculated</b>")).pk)
    merge_case(case.pk)
    tasks.write_report(str(case.pk))
    first = Report.objects.get(case=case)
    tasks.write_report(str(case.pk))
    assert Report.objects.get(case=case).written_at == first.written_at  # the same words are not written again
    page = carol.get(path).content.decode()
    assert "Suspicion of malignancy: 92 of 100" in page and "Settled by consensus." in page
    assert "&lt;b&gt;spiculated&lt;/b&gt;" in page and "<b>spiculated" not in page
    assert path in carol.get(f"/programmes/{case.programme.slug}/cases/{case.number}/").content.decode()
    text = carol.get(path, {"format": "text"})
    assert text["Content-Type"] == "text/plain; charset=utf-8" and text.content.decode() == first.text + "\n"
    set_truth(cast.carol, case, True, "pathology")
    tasks.write_report(str(case.pk))
    assert "Settled by pathology." in carol.get(path).content.decode()
    for name in ("alice", "dave", "grace", "mallory"):
        assert client(cast, name).get(path).status_code == 404, name
        assert client(cast, name).get(path, {"format": "text"}).status_code == 404, name
