"""Received files made known: what arrives together is made durable together, with the same care as one alone.

`settle` may be called from any number of threads at once. Files are synced side by side, their folder once, and
their rows go into one transaction; every caller hears only after all of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from portal.core import live, outbox
from portal.core.digests import keyed
from portal.core.grouping import Group
from portal.core.rows import insert
from portal.ingest import landing
from portal.ingest.inspect import inspect
from portal.ingest.models import LandingFile, Receipt, Source
from portal.ingest.rules import Header, valid_uid

log = structlog.get_logger(__name__)

LIVING = (Receipt.State.RECEIVED, Receipt.State.DEIDENTIFIED, Receipt.State.ARCHIVED)
MOST = 64  # files in one transaction
TRIES = 3
Fault = tuple[str, str]


@dataclass
class Arrival:
    """One file on its way in: its bytes, what is wrong with them, and the receipt that it gets."""

    landed: landing.Landed
    receipt: Receipt
    header: Header | None
    fault: Fault | None
    error: BaseException | None = None


def arrive(source: Source, landed: landing.Landed, batch: uuid.UUID | None, study_uid: str | None) -> Arrival:
    """Inspect a file whose bytes are being made durable; nothing is written yet."""
    try:
        header, fault = inspect(landed.path)
    except BaseException:
        landed.drop()
        raise
    if fault is None and study_uid and header and header.study_uid != study_uid:
        fault = ("wrong_study", "")
    receipt = Receipt(
        organisation_id=source.organisation_id,
        source=source,
        batch=batch,
        size=landed.size,
        digest=landed.digest,
        uid_digest=uid_digest(source.organisation_id, header.sop_uid) if header and not fault else "",
        sop_class=header.sop_class if header and valid_uid(header.sop_class) else "",
        modality=header.modality if header else "",
        state=Receipt.State.RECEIVED,
    )
    return Arrival(landed, receipt, header, fault)


def uid_digest(organisation_id: int, sop_uid: str) -> str:
    """Return the keyed digest by which a SOP instance is known again within one organisation."""
    return keyed("sop-instance", f"{organisation_id}/{sop_uid}")


def settle(arrivals: Sequence[Arrival]) -> None:
    """Make arrivals durable and known; each then has its receipt, or the error that was its own.

    Raises what hinders all of them, such as a database that is away. Their temporary files are gone in any case.
    """
    try:
        if connection.in_atomic_block:  # the caller's transaction decides, and only about its own
            _commit(list(arrivals))
        else:
            _group.do(arrivals)
    finally:
        for arrival in arrivals:
            arrival.landed.drop()
    for arrival in arrivals:
        arrival.receipt.sent = arrival.header  # type: ignore[attr-defined]


def _commit(arrivals: list[Arrival]) -> None:
    """One transaction for all; when one of them spoils it for the others, each its own."""
    sound = arrivals
    try:
        for _ in range(TRIES):
            sound = _write(sound) if sound else []
        if sound:
            raise DatabaseError("the receipts of these instances change faster than they can be read")
    except (OperationalError, InterfaceError):
        raise  # the database is away, and nobody knows what it has done
    except Exception as error:
        if len(arrivals) == 1 or connection.in_atomic_block:
            raise
        log.warning("ingest.group_failed", files=len(arrivals), error=type(error).__name__)
        for arrival in arrivals:
            _alone(arrival)


def _alone(arrival: Arrival) -> None:
    if arrival.error is None:
        try:
            _commit([arrival])
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            arrival.error = error


def _write(arrivals: list[Arrival]) -> list[Arrival]:
    """Write rows and files; returns arrivals that have to try again.

    These are the ones whose earlier receipt ended in between and, when a file could not be made durable and has its
    error now, all others. The disk works on the files while the database works on the rows.
    """
    with transaction.atomic():
        fresh, duplicates, faulty, again = _sorted(arrivals)
        aside = _aside(faulty)
        insert([arrival.receipt for arrival in [*duplicates, *aside]])
        kept = [*fresh, *aside]
        files = landing.keep_all([(arrival.landed, arrival.receipt.pk) for arrival in kept])
        try:
            named = zip(kept, files.names, strict=True)
            insert([LandingFile(receipt_id=arrival.receipt.pk, name=name) for arrival, name in named])
            outbox.emit_all("ingest.received", [arrival.receipt.pk for arrival in fresh])
            for arrival in [*kept, *duplicates]:
                announce(arrival.receipt)
            broken = files.wait()
        except BaseException:
            files.undo()
            raise
        if broken:
            files.undo()
            transaction.set_rollback(True)
            _spoil(arrivals, broken)
            return [arrival for arrival in arrivals if arrival.error is None]
    return again


def _spoil(arrivals: Sequence[Arrival], broken: Sequence[tuple[landing.Landed, OSError]]) -> None:
    errors = {id(landed): error for landed, error in broken}
    for arrival in arrivals:
        arrival.error = errors.get(id(arrival.landed))
        receipt = arrival.receipt
        if receipt.state == Receipt.State.DUPLICATE:
            receipt.state = Receipt.State.RECEIVED


def _sorted(arrivals: list[Arrival]) -> tuple[list[Arrival], list[Arrival], list[Arrival], list[Arrival]]:
    """(new, already here, to be set aside, to be tried again). The receipts of new ones are written.

    The table's constraint decides between senders of the same instance: the row of the one that was first is found
    under its digest, and everybody else's own is not.
    """
    wanted = sorted((a for a in arrivals if a.fault is None), key=lambda a: a.receipt.uid_digest)  # no deadlocks
    faulty = [arrival for arrival in arrivals if arrival.fault is not None]
    duplicates, again = list[Arrival](), list[Arrival]()
    new = {receipt.pk for receipt in insert([arrival.receipt for arrival in wanted], skip_conflicts=True)}
    fresh = [arrival for arrival in wanted if arrival.receipt.pk in new]
    known = [arrival for arrival in wanted if arrival.receipt.pk not in new]
    living = _living(known)
    for arrival in known:
        receipt = arrival.receipt
        digest = living.get((receipt.organisation_id, receipt.uid_digest))
        if digest is None:
            again.append(arrival)
        elif digest == receipt.digest:
            receipt.state = Receipt.State.DUPLICATE
            duplicates.append(arrival)
        else:
            arrival.fault = ("conflict", "")
            faulty.append(arrival)
    return fresh, duplicates, faulty, again


def _living(arrivals: list[Arrival]) -> dict[tuple[int, str], str]:
    """(organisation, digest of the instance) → digest of the bytes that are here."""
    if not arrivals:
        return {}
    rows = Receipt.objects.filter(
        organisation_id__in={arrival.receipt.organisation_id for arrival in arrivals},
        uid_digest__in=[arrival.receipt.uid_digest for arrival in arrivals],
        state__in=LIVING,
    ).values_list("organisation_id", "uid_digest", "digest")
    return {(organisation, uid): digest for organisation, uid, digest in rows}


def _aside(faulty: list[Arrival]) -> list[Arrival]:
    """Those that get a receipt in quarantine; the same bytes again for the same reason are not kept twice."""
    if not faulty:
        return []
    rows = Receipt.objects.filter(
        organisation_id__in={arrival.receipt.organisation_id for arrival in faulty},
        digest__in=[arrival.receipt.digest for arrival in faulty],
        state=Receipt.State.QUARANTINED,
    )
    known = {(row.organisation_id, row.digest, row.reason): row for row in rows}
    out = []
    for arrival in faulty:
        reason, detail = arrival.fault or ("", "")
        receipt = arrival.receipt
        key = (receipt.organisation_id, receipt.digest, reason)
        if key in known:
            arrival.receipt = known[key]
            continue
        receipt.state, receipt.reason, receipt.detail = Receipt.State.QUARANTINED, reason, detail[:200]
        known[key] = receipt
        log.info("ingest.quarantined", receipt=str(receipt.pk), reason=reason)
        out.append(arrival)
    return out


def announce(receipt: Receipt) -> None:
    """Tell the browsers of those who look after the doors about a receipt's state."""
    live.announce(
        [live.audience_group(receipt.organisation_id, "doors")],
        "receipt.changed",
        {"id": str(receipt.pk), "state": receipt.state, "reason": receipt.reason},
    )


_group = Group(_commit, MOST)
