"""Quality of images and of scans over time, and urgency: worked examples, then at settling a real study."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from portal.archive import quality, scoring
from portal.archive.actions import settle_study
from portal.archive.models import Study
from portal.archive.quality import Past, Pixels, image_quality, longitudinal_quality, pixels_of, study_quality
from portal.consensus.actions import set_truth
from portal.core import storage
from portal.deidentify.models import DeidentificationReport
from portal.infer.models import ImageResult
from portal.programmes.actions import raise_priority
from portal.programmes.models import Case, Protocol
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, cast, finished_run, mammography, open_case

__all__ = ["cast", "plain_static"]
db = pytest.mark.django_db(transaction=True)
SHARP = {"Modality": "MG", "Rows": 3000, "Columns": 2400, "PixelSpacing": [0.1, 0.1], "Manufacturer": "A",
         "ManufacturerModelName": "B"}  # fmt: skip
CLEAN = Pixels(noise=1.0, span=100.0)  # 40 dB


def test_a_fine_clean_direct_image_has_all() -> None:
    best = image_quality(SHARP, CLEAN)
    assert best.score == 1 and best.words == [] and not best.corrupt


@pytest.mark.parametrize(
    ("header", "pixels", "score"),
    [
        # README: twice the usual spacing halves the resolution part: 1 − 0.35 / 2
        ({**SHARP, "PixelSpacing": [0.2, 0.2]}, CLEAN, 0.825),
        # 20 dB: (20 − 10) / 30 of the noise part: 1 − 0.30 · 2/3
        (SHARP, Pixels(10.0, 100.0), 0.8),
        # film: 1 − 0.20 · 0.6
        ({**SHARP, "ConversionType": "DF"}, CLEAN, 0.88),
        ({**SHARP, "Manufacturer": "Lumisys", "ManufacturerModelName": "75"}, CLEAN, 0.88),
        # nobody knows the machine: 1 − 0.15 · 0.2
        ({**SHARP, "Manufacturer": None}, CLEAN, 0.97),
        # lossy at 1:10: the machine part is 1 / 1.25
        ({**SHARP, "LossyImageCompression": "01", "LossyImageCompressionRatio": 10}, CLEAN, 0.97),
        # no spacing: 1500 of 3000 pixels
        ({**SHARP, "PixelSpacing": None, "Rows": 1500, "Columns": 900}, CLEAN, 0.825),
        (SHARP, Pixels(0.0, 0.0), 0.0),
        (SHARP, None, 0.0),
    ],
)
def test_worked_examples(header: dict[str, Any], pixels: Pixels | None, score: float) -> None:
    assert image_quality(header, pixels).score == pytest.approx(score, abs=1e-4)


def test_a_scan_is_no_better_than_its_worst_image_lets_it_be() -> None:
    one, other = image_quality(SHARP, CLEAN), image_quality(SHARP, None)
    assert study_quality([one, other]) == pytest.approx(0.75 * 0.5 + 0.25 * 0)
    assert study_quality([]) is None


@pytest.mark.parametrize("sigma", [2.0, 8.0, 25.0])
def test_the_noise_is_what_was_added_and_what_another_estimator_finds(sigma: float) -> None:
    y, x = np.mgrid[:200, :160]
    smooth = 500 + 200 * np.sin(x / 25) + y
    noisy = smooth + np.random.default_rng(3).normal(0, sigma, smooth.shape)
    found = pixels_of(noisy)
    assert found.noise == pytest.approx(sigma, rel=0.05)
    # the median of what neighbours differ by, for normal noise (Rousseeuw and Croux 1993)
    steps = np.diff(noisy, 2, axis=1)
    assert found.noise == pytest.approx(1.4826 * np.median(np.abs(steps)) / np.sqrt(6), rel=0.1)
    low, high = np.percentile(noisy, [1, 99])
    assert found.span == pytest.approx(high - low)


VALUES = st.one_of(st.none(), st.text(max_size=5), st.floats(), st.lists(st.floats(), max_size=3))


@given(st.dictionaries(st.sampled_from(["Modality", "PixelSpacing", "ConversionType", "LossyImageCompressionRatio",
                                        "LossyImageCompression"]), VALUES))  # fmt: skip
def test_odd_headers_have_a_score(header: dict[str, Any]) -> None:
    header = {k: v for k, v in header.items() if k != "PixelSpacing" or isinstance(v, list)}
    assert 0 <= image_quality(header, CLEAN).score <= 1


def test_scans_over_time() -> None:
    first, later = Past(date(2019, 1, 1), frozenset({"MG"})), Past(date(2021, 7, 2), frozenset({"MG", "US"}))
    assert longitudinal_quality([], False) == 0
    assert longitudinal_quality([first], False) == pytest.approx(0.05)  # one type of three
    # 0.35 · ½ + 0.25 · 2.5/5 + 0.15 · ⅔ = 0.175 + 0.125 + 0.1
    assert longitudinal_quality([later, first], False) == pytest.approx(0.4, abs=2e-4)
    assert longitudinal_quality([later, first], True) == pytest.approx(0.65, abs=2e-4)
    many = [Past(date(2000 + n, 1, 1), frozenset({f"M{n}"})) for n in range(20)]
    assert longitudinal_quality(many, True) == pytest.approx(1, abs=1e-4)


def test_urgency_of_requests_and_findings() -> None:
    assert quality.requested_priority(["ROUTINE", " stat "]) == 10 and quality.requested_priority(["x", ""]) == 0
    assert quality.critical_priority(["Mass", "Pneumothorax"]) == 10 and quality.critical_priority([]) == 0


# --- in the archive --------------------------------------------------------------------------------
@db
def test_a_study_is_measured_when_it_settles_and_found_by_it(cast: Cast) -> None:
    study = mammography(cast)
    scoring.measure_study(study.pk)
    study = Study.objects.select_related("patient").get(pk=study.pk)
    assert study.image_quality is not None and len(study.quality_parts) == 4
    assert all(part["version"] == "1" for part in study.quality_parts)
    assert study.patient.longitudinal_quality is not None
    client = Client()
    client.force_login(cast.erin)
    (one,) = client.get(f"/api/v1/studies/?q={study.study_uid}").json()["results"]
    assert one["image_quality"] == study.image_quality
    assert one["longitudinal_quality"] == study.patient.longitudinal_quality
    percent = int(study.image_quality * 100)
    for query, there in ((f"quality={percent}", True), (f"quality={percent + 1}", False), (f"poor={percent}", False),
                         (f"poor={percent + 1}", True), ("longitudinal=100", False), ("quality=x", True),
                         ("urgent=1", False)):  # fmt: skip
        found = client.get(f"/api/v1/studies/?q={study.study_uid}&{query}").json()["results"]
        assert bool(found) == there, query
    page = client.get(f"/scans/{study.study_uid}/").content.decode()
    assert "Image quality" in page and f"{100 * study.image_quality:.0f} %" in page


@db
def test_pixels_that_cannot_be_decoded_are_corrupt(cast: Cast) -> None:
    study = mammography(cast)
    instance = study.instances.order_by("series__number", "number", "pk")[0]
    with open(storage.archive().path(instance.name), "r+b") as file:
        file.truncate(900)
    parts = scoring.measure_study(study.pk).quality_parts
    assert [part["corrupt"] for part in parts].count(True) == 1
    assert "the pixels cannot be decoded" in parts[0]["words"]


@db
def test_pathology_makes_a_patients_scans_worth_more(cast: Cast) -> None:
    case = open_case(cast)
    scoring.measure_study(case.study_id)
    before = Study.objects.get(pk=case.study_id).patient.longitudinal_quality
    set_truth(cast.carol, case, True, "pathology")
    set_truth(cast.carol, case, True, "pathology")
    patient = Study.objects.get(pk=case.study_id).patient
    assert patient.risk_factors["biopsy"] and patient.longitudinal_quality == pytest.approx(before + 0.25)


@db
def test_a_request_at_once_goes_before_others(cast: Cast) -> None:
    receipt = make.stored(make.image("MG", RequestedProcedurePriority="STAT"), cast.lakeside)
    study = Study.objects.get(study_uid=receipt.study_uid)
    assert settle_study(study.pk)
    study.refresh_from_db()
    assert (study.state, study.priority) == ("settled", 10)


@db
def test_a_grave_finding_raises_only_what_is_not_read_without_the_model(cast: Cast) -> None:
    case = open_case(cast)
    run = case.study.runs.get()
    ImageResult.objects.filter(run=run).update(present={"Pneumothorax": True})
    Protocol.objects.filter(pk=case.protocol_id).update(mode="blinded")
    assert raise_priority(run.pk) == 0 and Study.objects.get(pk=case.study_id).priority == 0
    Protocol.objects.filter(pk=case.protocol_id).update(mode="verification")
    assert raise_priority(run.pk) == 1 and raise_priority(run.pk) == 0
    fresh = Case.objects.get(pk=case.pk)
    assert (fresh.priority, fresh.assignments.get().priority, fresh.study.priority) == (10, 10, 10)
    other = finished_run(mammography(cast), 0.9)
    assert raise_priority(other.pk) == 0


@db
def test_what_header_rules_changed_is_counted_without_values(cast: Cast) -> None:
    dave = Client()
    dave.force_login(cast.dave)
    assert dave.get("/api/v1/standardised/").json() == {"changes": []}
    assert "Nothing changed yet" in dave.get("/scans/standardised/").content.decode()
    for attributes in (["Modality", "ViewPosition"], ["Modality"]):
        receipt = make.stored(make.image("MG"), cast.lakeside)
        DeidentificationReport.objects.create(
            receipt=receipt, organisation=cast.lakeside, profile="p", version="1", header_rule="Sides",
            standardised=attributes,
        )  # fmt: skip
    found = dave.get("/api/v1/standardised/").json()["changes"]
    assert [(one["rule"], one["attribute"], one["files"]) for one in found] == [
        ("Sides", "Modality", 2), ("Sides", "ViewPosition", 1),
    ]  # fmt: skip
    assert "ViewPosition" in dave.get("/scans/standardised/").content.decode()
    mallory = Client()
    mallory.force_login(cast.mallory)
    assert mallory.get("/api/v1/standardised/").json() == {"changes": []}
