"""Searching at peers and fetching from them: by a person, by standing queries, and for earlier studies.

Everything that a peer says names patients. It is kept in the identity zone, encrypted; what a person may see of it
is sealed for that person's browser; what is fetched comes in by the one door and is de-identified there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from pydicom.dataset import Dataset

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.models import Study
from portal.core import letters as sealed
from portal.core import live, outbox, zone
from portal.core.digests import keyed
from portal.core.errors import Refused
from portal.deidentify import rules as shifting
from portal.deidentify import vault
from portal.deidentify.keys import patient_key
from portal.deidentify.restore import Unknown, identity_of
from portal.ingest.models import Source
from portal.peers import actions, client, store
from portal.peers.callers import Caller
from portal.peers.models import Fetch, FetchedStudy, Peer, PeerQuery, PeerStudy, QueryLook, StandingQuery
from portal.peers.rules import PAUSES, date_range, earlier_studies, wanted_studies

log = structlog.get_logger(__name__)
MOST_ANSWERS = 200
FIELDS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyDescription",
    "AccessionNumber", "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "StudyInstanceUID",
)  # fmt: skip
ASKED = ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber", "ModalitiesInStudy",
         "StudyDescription")  # fmt: skip
KEPT = timedelta(days=1)
TICK = 1.0  # seconds between two looks at whether a fetch was cancelled
Answer = Mapping[str, str]  # keyword → text of FIELDS


# --- asking ----------------------------------------------------------------------------------------


def ask_query(user: Any, peer: Peer, keys: Mapping[str, str]) -> tuple[PeerQuery, bytes]:
    """Have the identity zone search at a peer; returns the query and the key by which its answer is read.

    keys  keyword → value, of ASKED; at least one has to be given
    """
    require_role(user, peer.organisation_id, Role.PACS_ADMIN)
    keys = {k: v.strip() for k, v in keys.items() if k in ASKED and v.strip()}
    if not keys:
        raise Refused("no_keys", "Say what to look for: at least one field.", status=422)
    private, public = sealed.new_key()
    row = PeerQuery(
        organisation_id=peer.organisation_id,
        peer=peer,
        kind=PeerQuery.Kind.PERSON,
        asked_by=user,
        reply_key=public,
        state=PeerQuery.State.ASKED,
    )
    row.question = zone.seal(keys, str(row.pk))
    with transaction.atomic():
        row.save(force_insert=True)
        outbox.emit("peers.query_asked", row.pk)
    return row, private


def look(user: Any, query: PeerQuery, private: bytes) -> list[Answer]:
    """What a peer answered, for the one who asked and holds the key; that it was looked at is recorded first.

    Raises Refused for anyone else, and for a key that does not open it.
    """
    require_role(user, query.organisation_id, Role.PACS_ADMIN)
    if query.asked_by_id != user.pk or query.state != PeerQuery.State.ANSWERED or not query.answer:
        raise Refused("not_yours", "Only the browser that asked can show the answer; ask again.", status=403)
    QueryLook.objects.create(query=query, user=user, rows=query.found)
    try:
        found: list[Answer] = sealed.unseal(bytes(query.answer), private, str(query.pk))
    except sealed.Unreadable:
        raise Refused("not_yours", "Only the browser that asked can show the answer; ask again.", status=403) from None
    return found


def run_query(query_pk: Any) -> PeerQuery:
    """Search at a peer as a person asked; twice has the effect of once. Identity zone only."""
    query = PeerQuery.objects.select_related("peer").get(pk=query_pk)
    if query.state != PeerQuery.State.ASKED:
        return query
    try:
        keys = zone.unseal(bytes(query.question), str(query.pk))
        found, more = search(query.peer, keys)
    except (client.NotAnswered, sealed.Unreadable) as error:
        return _answered(query, PeerQuery.State.FAILED, error=str(error)[:200], question=b"")
    remember(query, found)
    letter = sealed.seal(found, bytes(query.reply_key), str(query.pk))
    return _answered(query, PeerQuery.State.ANSWERED, answer=letter, question=b"", found=len(found), more=more)


def _answered(query: PeerQuery, state: str, **fields: Any) -> PeerQuery:
    with transaction.atomic():
        if query.advance(state, **fields):
            group = live.audience_group(query.organisation_id, "doors")
            live.announce([group], "query.changed", {"id": str(query.pk), "state": query.state})
    return query


def search(peer: Peer, keys: Mapping[str, str], most: int = MOST_ANSWERS) -> tuple[list[Answer], bool]:
    """Studies at a peer: (keyword → text of FIELDS, whether there are more). Raises NotAnswered."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    if any(not value.isascii() for value in keys.values()):
        wanted.SpecificCharacterSet = "ISO_IR 192"
    for keyword in FIELDS:
        setattr(wanted, keyword, keys.get(keyword) or None)
    answers, more = client.find(peer, wanted, most)
    return [_plain(answer) for answer in answers if answer.get("StudyInstanceUID")], more


def _plain(answer: Dataset) -> Answer:
    out = {}
    for keyword in FIELDS:
        value = answer.get(keyword)
        parts = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
        out[keyword] = "\\".join(str(part) for part in parts if part is not None)[:256].strip()
    return out


def remember(query: PeerQuery, found: list[Answer]) -> None:
    """Keep what may be fetched, encrypted in the identity zone."""
    lock = vault.cipher()
    PeerStudy.objects.bulk_create(
        [
            PeerStudy(query_id=query.pk, number=number, content=lock.encrypt(json.dumps(dict(study)).encode()))
            for number, study in enumerate(found)
        ],
        ignore_conflicts=True,
    )


def forget_answers() -> int:
    """Delete what peers answered a day ago, except what is still to be fetched. Returns how many studies."""
    before = timezone.now() - KEPT
    PeerQuery.objects.filter(asked_at__lt=before).exclude(answer=b"").update(answer=b"")
    waiting = [Fetch.State.QUEUED, Fetch.State.RUNNING]
    open_ = Fetch.objects.filter(state__in=waiting) | Fetch.objects.filter(next_at__isnull=False)
    old = PeerStudy.objects.filter(made_at__lt=before).exclude(query_id__in=list(open_.values_list("query", flat=True)))
    return int(old.delete()[0])


# --- fetching --------------------------------------------------------------------------------------


def ask_fetch(user: Any, query: PeerQuery, numbers: list[int]) -> list[Fetch]:
    """Queue studies of a query's answers; one that was queued before is not queued twice."""
    require_role(user, query.organisation_id, Role.PACS_ADMIN)
    if not query.peer.fetch:
        raise Refused("no_fetch", "Nothing is fetched from this peer; its page says so.", status=422)
    good = [n for n in numbers if 0 <= n < query.found]
    if not good:
        raise Refused("nothing_chosen", "Choose at least one study.", status=422)
    return queue(query, good)


def queue(query: PeerQuery, numbers: list[int]) -> list[Fetch]:
    """Owe the fetches of some answers."""
    made = []
    with transaction.atomic():
        for number in numbers:
            row, new = Fetch.objects.get_or_create(
                query=query,
                number=number,
                defaults={
                    "organisation_id": query.organisation_id,
                    "peer_id": query.peer_id,
                    "state": Fetch.State.QUEUED,
                },
            )
            if new:
                outbox.emit("peers.fetch_asked", row.pk)
                actions.announce_fetch(row)
                made.append(row)
    return made


def study_digest(organisation_id: int, study_uid: str) -> str:
    """Keyed digest by which a peer's study is known again."""
    return keyed("peer-study", f"{organisation_id}/{study_uid}")


def run_fetch(fetch_pk: Any) -> Fetch:
    """Fetch one study; what came before a crash is known again at the door. Identity zone only.

    A peer that is away leaves the row failed, with the time at which it is tried again.
    """
    fetch = Fetch.objects.select_related("peer__source", "query").get(pk=fetch_pk)
    if fetch.state not in {Fetch.State.QUEUED, Fetch.State.RUNNING}:
        return fetch
    if fetch.state == Fetch.State.QUEUED and not _move(fetch, Fetch.State.RUNNING, attempts=fetch.attempts + 1):
        return fetch
    row = PeerStudy.objects.filter(query_id=fetch.query_id, number=fetch.number).first()
    if row is None:
        _move(fetch, Fetch.State.FAILED, error="What the peer answered was forgotten; search again.")
        return fetch
    study: Answer = json.loads(vault.cipher().decrypt(bytes(row.content)))
    try:
        completed, failed = _transfer(fetch, study["StudyInstanceUID"])
    except client.NotAnswered as error:
        wait = PAUSES.after(fetch.attempts)
        due = timezone.now() + wait if wait else None
        _move(fetch, Fetch.State.FAILED, error=str(error)[:200], next_at=due)
        return fetch
    counts = {"remaining": 0, "completed": completed, "failed": failed}
    if Fetch.objects.filter(pk=fetch.pk, cancel=True).exists():
        _move(fetch, Fetch.State.CANCELLED, **counts)
    elif failed or not completed:
        words = f"{failed} images did not come." if failed else "The peer sent nothing."
        _move(fetch, Fetch.State.FAILED, error=words, **counts)
    else:
        _known(fetch.peer, study)
        _move(fetch, Fetch.State.DONE, error="", **counts)
    return fetch


def _move(fetch: Fetch, state: str, **fields: Any) -> bool:
    with transaction.atomic():
        moved = fetch.advance(state, **fields)
        if moved:
            actions.announce_fetch(fetch)
    return moved


def _known(peer: Peer, study: Answer) -> None:
    count = study.get("NumberOfStudyRelatedInstances", "")
    FetchedStudy.objects.update_or_create(
        peer=peer,
        digest=study_digest(peer.organisation_id, study["StudyInstanceUID"]),
        defaults={"instances": int(count) if count.isdigit() else 0, "at": timezone.now()},
    )


def _transfer(fetch: Fetch, study_uid: str) -> tuple[int, int]:
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", study_uid
    peer, looked = fetch.peer, [time.monotonic()]

    def progress(remaining: int, completed: int, failed: int) -> bool:
        if time.monotonic() - looked[0] < TICK:
            return True
        looked[0] = time.monotonic()
        try:
            with transaction.atomic():
                rows = Fetch.objects.filter(pk=fetch.pk)
                rows.update(remaining=remaining, completed=completed, failed=failed)
                actions.announce_fetch(fetch)
            return not rows.filter(cancel=True).exists()
        finally:
            connection.close()

    if peer.fetch == Peer.Fetch.MOVE:
        return client.move(peer, keys, actions.calls_us_by(peer), progress)
    caller = Caller(settings.DICOM_AET, peer.organisation_id, peer.source, peer, batch=fetch.batch)
    return client.get(peer, keys, [], lambda path: _take(caller, path), progress)


def _take(caller: Caller, path: Any) -> Any:
    try:
        return store.take(caller, path)
    finally:
        connection.close()  # pynetdicom calls from a thread of its own


# --- by itself -------------------------------------------------------------------------------------


def run_standing(standing_pk: int) -> StandingQuery:
    """Search as a standing query says and queue what is new or has grown, newest first. Identity zone only."""
    row = StandingQuery.objects.select_related("peer", "function").get(pk=standing_pk)
    if not (row.active and row.peer.active and row.peer.fetch):
        return row
    modalities = list(row.function.modalities) if row.function else list(row.modalities)
    regions = {r.upper() for r in (row.function.body_parts if row.function else row.body_parts)}
    keys = {"StudyDate": date_range(timezone.localdate(), row.days_back), "StudyDescription": row.description}
    values: dict[str, Any] = {"last_at": timezone.now(), "error": ""}
    try:
        found: dict[str, Answer] = {}
        for modality in modalities:  # one at a time: a list matches at some peers only
            studies, _ = search(row.peer, {**keys, "ModalitiesInStudy": modality}, 1000)
            found |= {study["StudyInstanceUID"]: study for study in studies}
        fresh = [s for s in found.values() if _is_new(row.peer, s)]
        wanted = [study for _, study in wanted_studies(fresh, modalities, row.description, row.most)]
        if regions:
            wanted = [study for study in wanted if _shows(row.peer, study["StudyInstanceUID"], regions)]
        queue_studies(row.peer, PeerQuery.Kind.STANDING, wanted, standing=row)
        values |= {"last_found": len(found), "last_new": len(wanted)}
    except client.NotAnswered as error:
        values["error"] = str(error)[:200]
    StandingQuery.objects.filter(pk=row.pk).update(**values)
    actions.announce_peer(row.peer)
    return row


def queue_studies(peer: Peer, kind: str, studies: list[Answer], **fields: Any) -> list[Fetch]:
    """Queue studies that nobody chose; what is being fetched already is left out."""
    if not studies:
        return []
    with transaction.atomic():
        query = PeerQuery.objects.create(
            organisation_id=peer.organisation_id, peer=peer, kind=kind, state=PeerQuery.State.ANSWERED,
            found=len(studies), **fields,
        )  # fmt: skip
        remember(query, studies)
        for study in studies:
            _known(peer, study)
        return queue(query, list(range(len(studies))))


def _is_new(peer: Peer, study: Answer) -> bool:
    """Whether a study was never asked for, or has grown since."""
    before = FetchedStudy.objects.filter(
        peer=peer, digest=study_digest(peer.organisation_id, study["StudyInstanceUID"])
    ).first()
    count = study.get("NumberOfStudyRelatedInstances", "")
    return before is None or (count.isdigit() and int(count) > before.instances)


def _shows(peer: Peer, study_uid: str, regions: set[str]) -> bool:
    """Whether a series of the study shows one of the body regions, or says nothing about it."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "SERIES", study_uid
    wanted.SeriesInstanceUID = wanted.BodyPartExamined = wanted.Modality = ""
    series, _ = client.find(peer, wanted, MOST_ANSWERS)
    said = [str(one.get("BodyPartExamined") or "").strip().upper() for one in series]
    return any(not part or part in regions for part in said)


def fetch_priors(study_pk: int) -> list[Fetch]:
    """Fetch a new study's earlier ones from the peer that it came from, as many as the peer's page says.

    What was fetched as an earlier study asks for none itself. Identity zone only.
    """
    study = Study.objects.select_related("patient", "source").get(pk=study_pk)
    peer = Peer.objects.filter(source=study.source_id, active=True, priors__gt=0).exclude(fetch="").first()
    if peer is None or study.source is None:
        return []
    organisation = peer.organisation_id
    uid = vault.original_uid(organisation, "study", study.study_uid) or study.study_uid
    if FetchedStudy.objects.filter(peer=peer, digest=study_digest(organisation, uid)).exists():
        return []
    try:
        identity = dict(identity_of(organisation, study.patient.pseudonym))
    except Unknown:
        identity = {"PatientID": study.patient.pseudonym} if study.source.privacy == Source.Privacy.DONE else {}
    if not identity.get("PatientID"):
        return []
    day = f"{study.study_date:%Y%m%d}" if study.study_date else ""
    if day and study.source.privacy != Source.Privacy.DONE:
        day = shifting.shift_date(day, -vault.keys_for(organisation, patient_key(identity, uid)).days)
    try:
        found, _ = search(peer, {"PatientID": identity["PatientID"]}, 500)
    except client.NotAnswered as error:
        log.warning("peers.priors_not_found", peer=peer.pk, error=str(error))
        return []
    same = [s for s in found if s["PatientID"] == identity["PatientID"] and s["StudyInstanceUID"] != uid]
    chosen = earlier_studies(same, day, study.modalities, peer.priors)
    return queue_studies(peer, PeerQuery.Kind.PRIORS, [s for _, s in chosen if _is_new(peer, s)])
