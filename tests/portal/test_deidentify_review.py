"""The review of covered text: what is asked, who sees it, what a decision does, and that the zone holds."""

from __future__ import annotations

import io
import json
import uuid
from datetime import timedelta

import numpy as np
import pytest
from django.apps import apps
from django.http import Http404
from django.test import Client
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage

from inference.preprocess import fiducials
from portal.accounts.models import Role, User
from portal.archive.actions import replace_receipt, store_receipt
from portal.archive.models import Instance
from portal.core import storage
from portal.core.errors import Refused
from portal.core.models import OutboxEvent
from portal.deidentify import looks, terms, vault
from portal.deidentify.actions import deidentify_receipt
from portal.deidentify.models import PixelCrop, PixelLook, PixelQuestion
from portal.deidentify.pixels import review
from portal.ingest.actions import receive
from portal.ingest.models import LandingFile, Receipt, Source
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare

pytestmark = pytest.mark.django_db(transaction=True)
STRANGE = "Xqvzzt Brmblk"  # neither a word nor this patient's


@pytest.fixture
def dave() -> User:
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


@pytest.fixture
def source() -> Source:
    return Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")


def scan() -> Dataset:
    plane = (np.random.default_rng(7).integers(0, 4, (400, 640)) + 30).astype("u1")
    for text, at in ((STRANGE, (40, 40)), ("QUILLFEATHER ROSA", (200, 40))):
        ink = fonts.ink(text, "DejaVuSans.ttf", 26) > 0.5
        plane[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]][ink] = 250
    ds = bare(SecondaryCaptureImageStorage, "OT", plane, 8)
    ds.PatientName, ds.PatientID, ds.StudyDate = "Quillfeather^Rosa", "77120934", "20240229"
    return ds


def arrived(source: Source) -> tuple[Receipt, Dataset]:
    ds, out = scan(), io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    receipt = deidentify_receipt(receive(source, io.BytesIO(out.getvalue())).pk)
    assert receipt.state == "deidentified", receipt.reason
    return store_receipt(receipt.pk), ds


def stored() -> Dataset:
    with storage.archive().open(Instance.objects.get().name) as file:
        return dcmread(io.BytesIO(file.read()))


def question(source: Source) -> PixelQuestion:
    arrived(source)
    return PixelQuestion.objects.get()


def test_what_is_uncertain_is_asked_once_and_says_nothing_outside_the_zone(source: Source) -> None:
    receipt, _ = arrived(source)
    row = PixelQuestion.objects.get()  # the patient's own name is certain: nothing to ask
    crop = json.loads(review.vault.cipher().decrypt(bytes(PixelCrop.objects.get(question_id=row.pk).content)))
    assert crop["text"] == STRANGE and row.state == "open" and row.receipt == receipt
    report = json.dumps(receipt.deidentification.pixels)
    for value in (STRANGE, "Xqvzzt", "QUILL", "Quill"):
        assert value not in report + row.rule + row.kind
        assert value not in str(OutboxEvent.objects.values_list("key", "payload"))
    assert deidentify_receipt(receipt.pk).pk == receipt.pk and PixelQuestion.objects.count() == 1


def test_keep_brings_the_original_pixels_back_and_only_these(source: Source, dave: User) -> None:
    receipt, before = arrived(source)
    original, covered = pixel_array(before), pixel_array(stored())
    row = PixelQuestion.objects.get()
    x0, y0, x1, y1 = row.box
    assert not (covered[y0:y1, x0:x1] == 250).any()
    review.decide(dave, row, "keep")
    for _ in range(2):
        assert review.show_again(row.pk).state == "restored"
    assert replace_receipt(receipt.pk) and not replace_receipt(receipt.pk)
    after = pixel_array(stored())
    assert (after[y0:y1, x0:x1] == original[y0:y1, x0:x1]).all()
    assert len(fiducials.boxes(stored())) == 1 and not (after[200:230] == 250).any()  # the patient's name stays away
    instance = Instance.objects.get()
    assert instance.size == len(storage.archive().open(instance.name).read())
    who = apps.get_model("deidentify", "PixelQuestionEvent").objects.order_by("-pgh_id").filter(state="kept").first()
    assert who.pgh_context.metadata["by"] == "dave"


def test_an_original_that_has_gone_cannot_come_back(source: Source, dave: User) -> None:
    row = question(source)
    review.decide(dave, row, "keep")
    LandingFile.objects.all().delete()
    assert review.show_again(row.pk).state == "failed"
    assert review.decide(dave, PixelQuestion.objects.get(), "cover").state == "covered"


def test_decisions(source: Source, dave: User) -> None:
    row = question(source)
    with pytest.raises(Refused):
        review.decide(dave, row, "burn")
    for _ in range(2):
        assert review.decide(dave, row, "cover").state == "covered"
    assert review.decide(dave, row, "keep").state == "kept"
    review.show_again(row.pk)
    with pytest.raises(Refused):
        review.decide(dave, row, "cover")


@pytest.mark.parametrize("who", ["reader", "foreign"])
def test_nobody_else_decides_or_looks(source: Source, who: str) -> None:
    row = question(source)
    org = make.organisation("harbour" if who == "foreign" else "lakeside")
    person = make.user(who, org, Role.PACS_ADMIN if who == "foreign" else Role.READER)
    with pytest.raises(Http404):
        review.decide(person, row, "keep")
    with pytest.raises(Http404):
        review.look(person, [row])


def test_learning_teaches_the_lists(source: Source, dave: User) -> None:
    row = question(source)
    review.decide(dave, row, "keep", learn=True)
    assert review.teach(row.pk) and review.teach(row.pk)
    assert "xqvzzt brmblk" in terms.shared(row.organisation_id).white
    arrived(source)
    assert PixelQuestion.objects.count() == 1  # nothing is asked of the next scan
    assert len(fiducials.boxes(dcmread(io.BytesIO(newest())))) == 1


@pytest.mark.parametrize(("read", "taught"), [("Op: Xqvzzt", {"xqvzzt"}), ("Xqvzzt:", {"xqvzzt"})])
def test_what_is_covered_always_is_the_value_and_not_its_label(
    source: Source, dave: User, read: str, taught: set[str]
) -> None:
    row = question(source)
    content = json.dumps({"text": read, "png": ""}).encode()
    PixelCrop.objects.filter(question_id=row.pk).update(content=vault.cipher().encrypt(content))
    before = {term.text for term in terms.shared(row.organisation_id).black}
    review.decide(dave, row, "cover", learn=True)
    assert review.teach(row.pk)
    assert {term.text for term in terms.shared(row.organisation_id).black} - before == taught


def newest() -> bytes:
    with storage.archive().open(Instance.objects.order_by("-pk").first().name) as file:  # type: ignore[union-attr]
        return file.read()


def test_a_look_opens_for_the_browser_that_asked_alone(source: Source, dave: User) -> None:
    row = question(source)
    made, key = review.look(dave, [row])
    assert review.answer(made.pk) and not review.answer(made.pk)
    made.refresh_from_db()
    assert review.opened(dave, made, key)[row.pk]["text"] == STRANGE
    assert STRANGE.encode() not in bytes(made.letter)
    other = make.user("erin", make.organisation(), Role.PACS_ADMIN)
    for user, private in ((dave, b"x" * 32), (other, key)):
        with pytest.raises(Refused):
            review.opened(user, made, private)
    PixelLook.objects.filter(pk=made.pk).update(at=timezone.now() - timedelta(hours=2))
    made.refresh_from_db()
    with pytest.raises(Refused):
        review.opened(dave, made, key)
    assert looks.forget() == 1 and looks.forget() == 0
    assert apps.get_model("deidentify", "PixelLookEvent").objects.count() == 1  # that someone looked stays


def test_the_pages(source: Source, dave: User, plain_static: None) -> None:  # noqa: F811
    row = question(source)
    client = Client()
    client.force_login(dave)
    page = client.get("/pixels/").content.decode()
    assert "Leave covered" in page and STRANGE not in page
    answer = client.post("/pixels/decide/", {"do": "look", "row": row.pk})
    where = answer["Location"]
    assert "asked" in client.get(where).content.decode()
    review.answer(where.rstrip("/").rsplit("/", 1)[1])
    shown = client.get(where)
    assert STRANGE in shown.content.decode() and "data:image/png;base64," in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    fresh = Client()
    fresh.force_login(dave)
    assert STRANGE not in fresh.get(where).content.decode()
    client.post(where, {"row": row.pk, "do": "cover"})
    row.refresh_from_db()
    assert row.state == "covered"
    client.post("/pixels/decide/", {"do": "keep", "row": row.pk})
    row.refresh_from_db()
    assert row.state == "kept"
    assert client.get(f"/pixels/look/{uuid.uuid4()}/").status_code == 404
    assert "deidentify.pixels_kept" in set(OutboxEvent.objects.values_list("topic", flat=True))


def test_empty(dave: User, plain_static: None) -> None:  # noqa: F811
    client = Client()
    client.force_login(dave)
    assert "Nothing to decide" in client.get("/pixels/").content.decode()
