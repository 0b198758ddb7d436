"""De-identify a received file: the last step that sees an identity."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from portal.core import outbox, storage
from portal.core.locks import one_at_a_time
from portal.core.storage import staged_name
from portal.deidentify import documents, filing, rules, site_actions, terms, vault
from portal.deidentify.faces import door as faces
from portal.deidentify.faces.whole import painted as painted_face
from portal.deidentify.faces.whole import say
from portal.deidentify.files import local_copy, publish
from portal.deidentify.headers import gather
from portal.deidentify.keys import IDENTITY, Keys, patient_key
from portal.deidentify.models import DeidentificationReport, FaceSlice
from portal.deidentify.pixels import door as pixels
from portal.deidentify.pixels import review
from portal.deidentify.pixels.clean import Looked
from portal.deidentify.pixels.cover import NotCovered
from portal.deidentify.pixels.shown import NotShown
from portal.deidentify.pixels.where import Box
from portal.deidentify.profile import NAME, VERSION, Outcome, deidentify
from portal.deidentify.table import Options, Row
from portal.ingest.actions import set_aside
from portal.ingest.arrivals import announce, uid_digest
from portal.ingest.inspect import Damaged, Opened, opened
from portal.ingest.models import HeaderRule, LandingFile, Receipt, Source
from portal.ingest.standardise import Rule, Standardised, standardise

log = structlog.get_logger(__name__)

# what the profile writes itself
OWN = {"PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence", "PatientID",
       "LongitudinalTemporalInformationModified", "PatientName", "AccessionNumber"}  # fmt: skip
KINDS = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "instance"}


@dataclass(frozen=True)
class Made:
    """A clean copy that was written, and how."""

    keys: Keys
    rule: Standardised | None
    outcome: Outcome
    looked: Looked | None
    face: faces.Decided | None
    face_report: dict[str, Any]


def deidentify_receipt(receipt_id: uuid.UUID | str) -> Receipt:
    """Make the clean copy of a receipt's file and hand it on; twice has the effect of once.

    A slice of CT or MR whose series was not looked at for a face yet waits, as `received` (faces.door).
    A file that cannot be cleaned goes to quarantine; its identity stays in the landing store. A crash leaves
    the receipt `received`, and the next run writes the same clean bytes under the same name.
    """
    receipt = Receipt.objects.select_related("source").get(pk=receipt_id)
    if receipt.state != Receipt.State.RECEIVED:
        return receipt
    landed = LandingFile.objects.get(receipt_id=receipt.pk)
    try:
        with local_copy(storage.landing(), landed.name) as path, opened(path) as found:
            face = faces.decided(receipt, found)
            version, site = site_actions.in_force(receipt.organisation_id)
            made = _make(found, receipt, staged_name(receipt.pk), site, face)
            _finish(receipt, found, made, version)
    except (OSError, MemoryError):
        raise  # the storage, not the file: try again later
    except (faces.Held, filing.Waits):
        log.debug("deidentify.waits", receipt=str(receipt.pk))
    except faces.Changed:  # it must not go on with the older decision
        return deidentify_receipt(receipt_id)
    except NotShown as error:
        set_aside(receipt, "pixels_not_read", f"No decoder can show them ({error}).")
    except NotCovered as error:
        set_aside(receipt, "pixels_not_covered", f"They hold text and cannot be written anew ({error}).")
    except Damaged as error:
        set_aside(receipt, error.reason, error.detail)
    except IntegrityError:
        set_aside(receipt, "conflict")
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RecursionError) as error:
        # pydicom's ways to say that a value is impossible; only the kind: the words may quote the header
        set_aside(receipt, "not_deidentified", f"The header could not be cleaned ({type(error).__name__}).")
    return receipt


def clean_again(receipt: Receipt) -> Made:
    """Write the clean copy of an archived receipt's file anew, as questions and faces are decided by now.

    It waits for `archive.actions.replace_receipt`; "deidentify.done_again" is the caller's to emit. Raises
    LandingFile.DoesNotExist when the original has gone, and what deidentify_receipt turns into quarantine.
    """
    with one_at_a_time("clean copy", receipt.pk):  # the last one to write it must be the one that knows most
        landed = LandingFile.objects.get(receipt_id=receipt.pk)
        then = DeidentificationReport.objects.filter(receipt=receipt).values_list("site_rules", flat=True).first()
        _, site = site_actions.version(receipt.organisation_id, then)
        shown = review.shown(receipt)
        with local_copy(storage.landing(), landed.name) as path, opened(path) as found:
            face = faces.decided(receipt, found, held=False)
            return _make(found, receipt, staged_name(f"{receipt.pk}-again"), site, face, shown)


def renew_face(receipt_id: uuid.UUID | str) -> bool:
    """Clean an archived receipt's file anew after its series was decided otherwise; False when there is nothing to do.

    Twice has the effect of once. Raises RuntimeError while the archive has not taken the file yet.
    """
    receipt = Receipt.objects.select_related("source").get(pk=receipt_id)
    one = FaceSlice.objects.filter(receipt_id=receipt.pk).select_related("series").defer("series__plan").first()
    if one is None or one.done in {None, one.series.number}:
        return False
    if receipt.state == Receipt.State.DEIDENTIFIED:
        raise RuntimeError("the archive has not taken the instance yet; tried again")
    if receipt.state != Receipt.State.ARCHIVED:
        return False
    try:
        made = clean_again(receipt)
    except (LandingFile.DoesNotExist, FileNotFoundError, NotShown, NotCovered, Damaged) as error:
        log.error("faces.not_renewed", receipt=str(receipt.pk), error=type(error).__name__)
        face, number = {"done": "open", "reason": "not_renewed"}, one.series.number
    else:
        face, number = made.face_report, made.face.number if made.face else one.series.number
    with transaction.atomic():
        DeidentificationReport.objects.filter(receipt=receipt).update(face=face)
        FaceSlice.objects.filter(pk=one.pk).update(done=number)
        if face.get("reason") != "not_renewed":
            outbox.emit("deidentify.done_again", receipt.pk)
    return True


def _make(
    found: Opened,
    receipt: Receipt,
    name: str,
    site: Mapping[int, Row] | None,
    face: faces.Decided | None,
    shown: Collection[Box] = (),
) -> Made:
    """Write the clean copy of an instance under `name`: header, text in its pixels and face in one file.

    shown  fiducials to leave away
    Raises filing.Waits for a report whose scan has not come.
    """
    seen = pixels.seen(found, receipt.source.privacy)
    painted = painted_face(found, face.face) if face else None
    keys, rule, outcome = clean(found, receipt, pixels.texts(seen), site)
    if outcome.alone:
        filing.file_report(receipt, found.dataset, keys, outcome)
    looked = pixels.judged(found, seen, outcome.lists)
    kept = looked.without(shown) if looked else None
    with pixels.cleaned(found, kept, keys.days, painted) as clean_copy:
        if face:
            say(found.dataset, face.face, face.left, painted is not None)
        publish(storage.archive(), name, found.dataset, clean_copy)
    return Made(keys, rule, outcome, looked, face, face.report(painted is not None) if face else {})


def _finish(receipt: Receipt, found: Opened, made: Made, version: int | None) -> None:
    keys, outcome = made.keys, made.outcome
    with transaction.atomic():
        vault.remember(keys, outcome.identity, uid_kinds(found.dataset, outcome.uids))
        if not outcome.alone:
            filing.remember_scan(found.dataset, keys)
        terms.remember(keys.organisation, keys.patient, outcome.lists)
        _report(receipt, found.dataset, made, version)
        if made.looked:
            review.ask(receipt, made.looked)
        # a receipt that was tried again has no digest yet; the database refuses a second living one
        fields = {
            "uid_digest": uid_digest(receipt.organisation_id, found.header.sop_uid),
            "sop_class": str(found.dataset.SOPClassUID),  # a document has become a report
            "modality": "SR" if found.header.sop_class in documents.CLASSES else found.header.modality,
        }
        if receipt.advance(Receipt.State.DEIDENTIFIED, **fields):
            outbox.emit("deidentify.done", receipt.pk)
            announce(receipt)
        faces.finish(receipt, made.face)  # last: it locks the series


def clean(
    found: Opened, receipt: Receipt, extra_texts: tuple[str, ...] = (), site: Mapping[int, Row] | None = None
) -> tuple[Keys, Standardised | None, Outcome]:
    """Standardise and de-identify a data set in place, as the receipt's source is set to.

    extra_texts  what belongs to the scan and does not lie in its header, such as texts read from its pixels
    site         rows of the organisation's own rules
    Raises Damaged for a document without text.
    """
    dataset = found.dataset
    alone = filing.alone(dataset, receipt.organisation_id)
    named = documents.unpack(dataset)
    own = gather(dataset, extra_texts) | named
    rule = apply_rules(dataset, receipt.organisation_id)
    identity = {keyword: str(dataset.get(keyword) or "").strip() for keyword in IDENTITY}
    if alone:
        identity = filing.whose(identity, receipt.organisation_id)
    keys = vault.keys_for(receipt.organisation_id, patient_key(identity, found.header.study_uid))
    originals = {keyword: str(dataset.get(keyword) or "") for keyword in KINDS}
    if rule and rule.study_key:
        join(dataset, keys, rule)
    if receipt.source.privacy == Source.Privacy.DONE:
        outcome = Outcome()
    else:
        lists = own | terms.known(keys.organisation, keys.patient)
        options = Options(uids=receipt.source.privacy == Source.Privacy.KEEP_UIDS)
        outcome = deidentify(dataset, keys, options, lists, site)
        if receipt.source.kind == Source.Kind.REPORT and not (alone or rule):
            filing.among(dataset, originals["StudyInstanceUID"], keys)
    for keyword, original in originals.items():
        made = str(dataset.get(keyword) or "")
        if made != original:  # a joined study leads back to the first study that was joined
            outcome.uids[made] = original
    outcome.identity, outcome.alone = identity, alone
    return keys, rule, outcome


def apply_rules(dataset: Dataset, organisation_id: int) -> Standardised | None:
    """Set what the organisation's first fitting header rule says; returns what it did."""
    rows = HeaderRule.objects.filter(organisation_id=organisation_id, active=True)
    found = [Rule(r.name, r.match, r.assign, r.study_key, r.series_key) for r in rows]
    wanted = {keyword for rule in found for keyword in rule.match}
    header = {keyword: str(dataset.get(keyword) or "") for keyword in wanted}
    done = standardise(header, found)
    if done:
        for keyword, value in done.values.items():
            setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
    return done


def join(dataset: Dataset, keys: Keys, rule: Standardised) -> None:
    """Give images of several studies the UIDs of the one study (and series) that they belong to."""
    seed = f"header rule {rule.rule}"
    dataset.StudyInstanceUID = rules.pseudo_uid(keys.uids, keys.organisation, f"{seed} study {rule.study_key}")
    if rule.series_key:
        series = f"{seed} series {rule.series_key}"
        dataset.SeriesInstanceUID = rules.pseudo_uid(keys.uids, keys.organisation, series)


def uid_kinds(dataset: Dataset, originals: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Pseudonym → (kind, original) for the UIDs by which results find their way back."""
    out: dict[str, tuple[str, str]] = {}
    for keyword, kind in [*KINDS.items(), ("AccessionNumber", "accession")]:
        made = str(dataset.get(keyword) or "")
        if made in originals:
            out[made] = (kind, originals[made])
    return out


def _report(receipt: Receipt, dataset: Dataset, made: Made, version: int | None) -> None:
    rule, outcome = made.rule, made.outcome
    touched = {path for path, _, _ in outcome.actions} | OWN
    trusted = receipt.source.privacy == Source.Privacy.DONE  # nothing was done, by no rule
    values: dict[str, Any] = {
        "organisation_id": receipt.organisation_id,
        "profile": f"{NAME} ({receipt.source.privacy})"[:40],
        "version": VERSION,
        "header_rule": rule.rule if rule else "",
        "standardised": sorted(rule.values) if rule else [],
        "actions": [list(action) for action in outcome.actions],
        "counts": outcome.counts,
        "pixels": made.looked.report() if made.looked else {},
        "found": outcome.found,
        "kept": [] if trusted else sorted({*map(keyword_for_tag, dataset.keys())} - touched - {""}),
        "site_rules": None if trusted else version,
        "face": made.face_report,
    }
    DeidentificationReport.objects.update_or_create(receipt=receipt, defaults=values)
