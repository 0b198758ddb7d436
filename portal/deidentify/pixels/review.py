"""Every write of the review of pixels: asking, deciding, looking, bringing pixels back.

The picture and the reading of a line are identities. They lie encrypted in the identity zone; a person sees them in a
letter that this zone seals for the browser that asked, and that is written down first (decision 0008).
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from typing import Any

import cv2
import pghistory
import structlog
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import live, outbox
from portal.core.errors import Refused
from portal.deidentify import looks, terms, vault
from portal.deidentify.models import PixelCrop, PixelLook, PixelQuestion
from portal.deidentify.pixels.clean import Looked
from portal.deidentify.pixels.where import Box
from portal.deidentify.text import KINDS
from portal.ingest.models import LandingFile, Receipt

log = structlog.get_logger(__name__)
MOST = 50  # lines in a letter
State = PixelQuestion.State
DECISIONS = {"keep": State.KEPT, "cover": State.COVERED}

TOPIC = "deidentify.look_asked"


def ask(receipt: Receipt, looked: Looked) -> None:
    """Ask about each covered line that is uncertain, once; its picture is kept encrypted. Identity zone only."""
    lock = vault.cipher()
    for one in looked.covered:
        if not one.uncertain:
            continue
        values = {"organisation_id": receipt.organisation_id, "frame": one.line.frame, "kind": one.kind,
                  "certainty": round(one.certainty, 3), "rule": one.rule[:40], "state": State.OPEN}  # fmt: skip
        box = list(looked.box(one))
        question, new = PixelQuestion.objects.get_or_create(receipt=receipt, box=box, defaults=values)
        if new:
            crop = looked.read.crops[one.line]
            clear = cv2.normalize(crop, crop.copy(), 0, 255, cv2.NORM_MINMAX)  # faint lines can be read by people too
            _, picture = cv2.imencode(".png", clear)
            content = {"text": one.line.text, "png": base64.b64encode(picture.tobytes()).decode()}
            PixelCrop.objects.create(question_id=question.pk, content=lock.encrypt(json.dumps(content).encode()))
            _announce(question)


def decide(user: Any, question: PixelQuestion, decision: str, learn: bool = False) -> PixelQuestion:
    """Say whether a line stays covered or is shown again.

    decision  cover, or keep: the original pixels come back from the landed file
    learn     the organisation's lists take the text over, for scans that come later
    The same decision twice has the effect of once. Raises Http404 without the role, Refused for what cannot be.
    """
    require_role(user, question.organisation_id, Role.PACS_ADMIN)
    if decision not in DECISIONS:
        raise Refused("bad_decision", f"Decisions are {', '.join(DECISIONS)}.", status=422)
    after = DECISIONS[decision]
    with transaction.atomic(), pghistory.context(by=str(user)):
        question = PixelQuestion.objects.select_for_update().get(pk=question.pk)
        if question.state in {after, State.RESTORED}:
            if question.state == State.RESTORED and decision == "cover":
                raise Refused("shown_again", "Its pixels are back in the archive already.")
            return question
        if after not in question.TRANSITIONS[question.state]:
            raise Refused("wrong_state", "Its pixels are just coming back.")
        fields = {"decided_by": user, "decided_at": timezone.now(), "learn": learn}
        if question.advance(after, **fields):
            if after == State.KEPT:
                outbox.emit("deidentify.pixels_kept", question.pk)
            if learn:
                outbox.emit("deidentify.term_taught", question.pk)
            _announce(question)
    return question


def look(user: Any, questions: Sequence[PixelQuestion]) -> tuple[PixelLook, bytes]:
    """Ask the identity zone for the pictures of lines; returns (the look, the key that opens its answer).

    Who asks for what is written down before anything is shown. Raises Http404 without the role, Refused for none.
    """
    if not questions:
        raise Refused("nothing_chosen", "Choose at least one line first.", status=422)
    organisations = {question.organisation_id for question in questions}
    if len(organisations) != 1:
        raise Http404
    keys = [question.pk for question in questions[:MOST]]
    made = PixelLook(organisation_id=organisations.pop(), user=user, questions=keys)
    return made, looks.ask(made, TOPIC)


def answer(look_id: uuid.UUID | str) -> bool:
    """Seal the pictures for the browser that asked; False when it was done before. Identity zone only."""
    return looks.answer(PixelLook, look_id, _pictures)


def _pictures(made: PixelLook) -> dict[str, dict[str, str]]:
    rows = PixelQuestion.objects.filter(pk__in=made.questions, organisation_id=made.organisation_id)
    lock = vault.cipher()
    crops = PixelCrop.objects.filter(question_id__in=rows.values("pk"))
    return {str(row.question_id): json.loads(lock.decrypt(bytes(row.content))) for row in crops}


def opened(user: Any, made: PixelLook, private: bytes) -> dict[int, dict[str, str]]:
    """Question → {"text", "png"} of an answered look, for the one who asked. Raises Refused for anyone else."""
    return {int(key): value for key, value in looks.opened(user, made, private).items()}


def show_again(question_pk: int) -> PixelQuestion:
    """Write the clean copy anew without the fiducials that were taken back. Identity zone only; twice as once."""
    from portal.deidentify.actions import clean_again  # it asks the questions, and so knows this module

    question = PixelQuestion.objects.select_related("receipt__source").get(pk=question_pk)
    receipt = question.receipt
    if question.state != State.KEPT:
        return question
    if receipt.state == Receipt.State.DEIDENTIFIED:
        raise RuntimeError("the archive has not taken the instance yet; tried again")
    try:
        if receipt.state != Receipt.State.ARCHIVED:
            raise LandingFile.DoesNotExist
        clean_again(receipt)
    except (LandingFile.DoesNotExist, FileNotFoundError):
        with transaction.atomic():
            question.advance(State.FAILED)
            _announce(question)
        return question
    with transaction.atomic():
        if question.advance(State.RESTORED):
            outbox.emit("deidentify.done_again", receipt.pk)
            _announce(question)
    return question


def shown(receipt: Receipt) -> list[Box]:
    """The fiducials of a receipt that were taken back."""
    rows = PixelQuestion.objects.filter(receipt=receipt, state__in=[State.KEPT, State.RESTORED])
    return [tuple(box) for box in rows.values_list("box", flat=True)]


def teach(question_pk: int) -> bool:
    """Put a decided line's text on the organisation's black or white list; False when it is undecided or its decider
    has gone. Identity zone only; twice has the effect of once.
    """
    question = PixelQuestion.objects.select_related("decided_by").get(pk=question_pk)
    if not question.learn or question.decided_by is None or question.state == State.OPEN:
        return False
    crop = PixelCrop.objects.get(question_id=question.pk)
    text = json.loads(vault.cipher().decrypt(bytes(crop.content)))["text"]
    which = "black" if question.state == State.COVERED else "white"
    value = text.rpartition(":")[2].strip()  # of "Op: Hernandez" the name goes, the label would go everywhere
    if which == "black" and sum(c.isalnum() for c in value) > 1:
        text = value
    kind = question.kind if question.kind in KINDS else "name"
    terms.teach(question.decided_by, question.organisation_id, text, which, kind)
    return True


def _announce(question: PixelQuestion) -> None:
    group = live.audience_group(question.organisation_id, "doors")
    live.announce([group], "pixels.changed", {"id": str(question.pk), "state": question.state})
