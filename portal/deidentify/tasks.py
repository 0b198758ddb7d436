"""Tasks of the identity zone."""

from portal.core.tasks import identity_task, short_task
from portal.deidentify import actions, looks, reidentify, term_actions
from portal.deidentify.faces import door, mending
from portal.deidentify.pixels import review


@identity_task
def deidentify_receipt(receipt_id: str) -> None:
    """Make the clean copy of a received file."""
    actions.deidentify_receipt(receipt_id)


@identity_task
def look_at_quiet_series() -> None:
    """Have the series at the door looked at to which nothing comes any more (beat)."""
    door.look_at_quiet_series()


@identity_task
def look_at_series(series_pk: str) -> None:
    """Look for a face in a series and let its slices go on."""
    door.look_at_series(int(series_pk))


@identity_task
def renew_face(receipt_id: str) -> None:
    """Clean an archived instance anew after its series was decided otherwise."""
    actions.renew_face(receipt_id)


@identity_task
def mend_faces() -> None:
    """Find what was forgotten at the door, and forget what is over (beat)."""
    mending.mend()
    mending.forget()


@identity_task
def answer_look(look_id: str) -> None:
    """Seal the pictures that a person asked to see."""
    review.answer(look_id)


@identity_task
def answer_zone_look(look_id: str) -> None:
    """Seal who a patient is, or what stands on the lists, for the person who asked."""
    reidentify.answer(look_id)


@identity_task
def show_again(question_pk: str) -> None:
    """Bring the original pixels of a line back."""
    review.show_again(int(question_pk))


@identity_task
def teach_term(question_pk: str) -> None:
    """Put the text of a decided line on the organisation's lists."""
    review.teach(int(question_pk))


@identity_task
def change_terms(change_id: str) -> None:
    """Put a sealed term on a list, or take terms off one."""
    term_actions.change(change_id)


@short_task
def forget_looks() -> None:
    """Remove letters that nobody can open any more (beat, hourly)."""
    looks.forget()
