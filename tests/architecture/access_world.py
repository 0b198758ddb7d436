"""The world of the access test: one object of Lakeside's for every kind of address, and people in and out of it."""

from __future__ import annotations

import gzip
import io
import uuid
from typing import Any

from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

from portal.accounts.actions import create_token, save_view
from portal.accounts.models import ApiToken, Membership, Organisation, Role, User
from portal.archive.models import Cohort, Instance, Study
from portal.billing.models import LedgerEntry
from portal.check.models import SeriesCheck, StudyCheck
from portal.consensus.models import Truth
from portal.core import storage
from portal.deidentify.models import PixelLook, PixelQuestion, SiteRules, TermChange, ZoneLook
from portal.export import gsps
from portal.export.models import DataSet, Destination, Return
from portal.export.returns.contents import headers
from portal.export.shapes import Shape
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.infer.models import Matrix, Run
from portal.ingest.models import HeaderRule, Receipt, Source
from portal.peers.models import Delivery, Fetch, MessageSender, PeerQuery, RoutingRule, StandingQuery
from portal.programmes.actions import claim
from portal.programmes.models import Assignment
from portal.read.models import WorkitemSubscriber
from portal.read.workitems.rules import uid_of
from portal.reports.models import Report
from tests.factories.peers import peer as dicom_peer
from tests.factories.reading import Cast, answers, open_case

LAKESIDE = ("alice", "bob", "carol", "erin", "dave", "grace", "ada", "noel")
OUTSIDERS = ("mallory", "left", "twin_elsewhere", "nomad")
EVERY_ROLE = [str(role) for role in Role]


class World:
    """Objects by the names that the table of addresses uses; `client(name)` is a person's browser or program.

    ada audits, noel is a member without a role; mallory has every role in harbour; left had every role in Lakeside;
    twin has every role in both, twin_elsewhere is twin's token of harbour; nomad belongs nowhere.
    """

    def __init__(self) -> None:
        cast = Cast()
        self.lakeside, self.harbour = cast.lakeside, Organisation.objects.get(slug="harbour")
        self.people: dict[str, User] = {
            name: getattr(cast, name) for name in ("alice", "bob", "carol", "erin", "dave", "grace", "mallory")
        }
        Membership.objects.filter(user=self.people["mallory"]).update(roles=EVERY_ROLE)
        self._join("ada", self.lakeside, [Role.AUDITOR])
        self._join("noel", self.lakeside, [])
        self._join("left", self.lakeside, EVERY_ROLE, active=False)
        self._join("left", self.harbour, EVERY_ROLE)
        self._join("twin", self.harbour, EVERY_ROLE)
        self._join("twin", self.lakeside, EVERY_ROLE)
        self.people["nomad"] = User.objects.create(username="nomad")
        self.bearers = {"twin_elsewhere": ("twin", self.harbour)}
        self.objects = self._objects(cast)
        # words that nobody outside may ever read; the rest are short numbers
        names = ("study_uid", "series_uid", "sop_uid", "assignment", "run", "failed_run", "data_set", "quarantined",
                 "programme", "function", "token", "token_name", "source_name", "rule_name", "ledger",
                 "return", "peer_name", "pacs_name", "fetch_error", "standing_name", "routing_name",
                 "view_name", "workitem", "cohort_name", "why", "site_note", "report_source",
                 "sender_name")  # fmt: skip
        self.secrets = [str(self.objects[name]) for name in names]

    def _subscribe(self, held: Assignment) -> None:
        """Who may see the work item is subscribed to it and to the worklist, by session and by token."""
        for name, place in (("alice", None), ("bob", None), ("carol", None), ("twin", self.lakeside)):
            who = WorkitemSubscriber.objects.create(user=self.people[name], organisation=place, ae_title="WATCH")
            who.subscriptions.create()
            who.subscriptions.create(assignment=held, round=0)

    def _join(self, name: str, organisation: Organisation, roles: list[Any], active: bool = True) -> None:
        user, _ = User.objects.get_or_create(username=name)
        Membership.objects.create(user=user, organisation=organisation, roles=list(map(str, roles)), active=active)
        self.people[name] = user

    def _objects(self, cast: Cast) -> dict[str, Any]:
        alice, carol, lakeside = self.people["alice"], self.people["carol"], self.lakeside
        case = open_case(cast)
        held = claim(alice, case.assignments.select_related("case__programme", "case__protocol").get())
        assert held.state == Assignment.State.CLAIMED
        self._subscribe(held)
        image = case.study.instances.select_related("series").order_by("pk").first()
        run = case.study.runs.get()
        seen = run.images.get(instance=image)
        seen.classes, seen.present = ["malignancy"], {"malignancy": True}
        seen.global_probabilities, seen.thresholds = {"malignancy": 0.9}, {"malignancy": 0.3}
        seen.save()
        matrix = Matrix(image=seen, row=64, shape=[1, 64, 64])
        matrix.data = gzip.compress(bytes(64 * 64))
        matrix.save()
        version = run.version
        InferenceFunction.objects.filter(pk=version.function_id).update(
            slug="lakesides-own-function", organisation=lakeside, owner=lakeside
        )
        older = FunctionVersion.objects.create(
            function_id=version.function_id,
            version="0",
            state="out_of_service",
            package="none",
            weights_sha256="1" * 64,
        )
        failed = Run.objects.create(
            organisation=lakeside, study=case.study, study_revision=0, version=older, state=Run.State.FAILED
        )
        # a built one wants a transaction of its own; here the file is enough
        name = storage.archive().save(f"exports/{uuid.uuid4()}.zip", ContentFile(b"PK"))
        data_set = DataSet.objects.create(
            organisation=lakeside, programme=case.programme, format="table", asked_by=carol, state="ready",
            name=name, size=2, sha256="0" * 64,
        )  # fmt: skip
        source = Source.objects.create(organisation=lakeside, kind="upload", name="Lakesides back door")
        receipt = Receipt.objects.create(
            organisation=lakeside, source=source, state=Receipt.State.QUARANTINED, size=1, digest="0" * 64, reason="x"
        )
        peer = Destination.objects.create(
            organisation=lakeside, name="Lakesides own PACS", ae_title="PACS", host="127.0.0.1", port=1
        )
        back = Return.objects.create(organisation=lakeside, destination=peer, case=case, state="failed")
        Truth.objects.create(organisation=lakeside, case=case, origin="person", positive=True)
        report = Report.objects.create(
            organisation=lakeside, case=case, template_id="plain", template_version="1", text="Nothing found."
        )
        kept = storage.archive().save(f"layers/{uuid.uuid4()}.dcm", ContentFile(_presentation(image)))
        layer = Instance.objects.create(
            organisation=lakeside, study=case.study, series=image.series, sop_uid="1.2.826.0.1.3680043.2.1125.7",
            sop_class="1.2.840.10008.5.1.4.1.1.11.1", transfer_syntax="1.2.840.10008.1.2.1", name=kept, size=1,
            sha256="0" * 64, headers={"00700080": {"vr": "CS", "Value": ["OTHERS"]}}, opinion=True,
        )  # fmt: skip
        Study.objects.filter(pk=case.study_id).update(opinions=True)
        rule = HeaderRule.objects.create(
            organisation=lakeside, name="Lakesides header rule", match={"PatientID": ".*"}, assign={"Modality": "MG"}
        )
        pacs = dicom_peer(lakeside, "LAKEPACS", name="Lakesides own peer", fetch="get")
        told = Source.objects.create(organisation=lakeside, kind="report", name="Lakesides report sender")
        Receipt.objects.create(
            organisation=lakeside,
            source=told,
            state=Receipt.State.QUARANTINED,
            size=1,
            digest="1" * 64,
            reason="no_scan",
        )
        sender = MessageSender.objects.create(
            organisation=lakeside, name="Lakesides RIS", addresses=["127.0.0.1/32"], source=told
        )
        asked = PeerQuery.objects.create(organisation=lakeside, peer=pacs, kind="person", state="answered", found=1)
        fetch = Fetch.objects.create(
            organisation=lakeside, peer=pacs, query=asked, number=0, state="failed", error="Lakesides fetch failed"
        )
        standing = StandingQuery.objects.create(organisation=lakeside, name="Lakesides standing query", peer=pacs)
        routing = RoutingRule.objects.create(organisation=lakeside, name="Lakesides routing rule", peer=pacs)
        delivery = Delivery.objects.create(organisation=lakeside, rule=routing, study=case.study, state="failed")
        token = ApiToken.objects.create(
            user=alice, organisation=lakeside, name="Alices viewer", digest="0" * 64, prefix="ccd_000000"
        )
        LedgerEntry.objects.create(
            organisation=lakeside, kind="reading", quantity=1, key="lakesides-ledger", words="Read"
        )
        view = save_view(alice, lakeside, "scans", "Alices own view", "state=settled")
        cohort = Cohort.objects.create(organisation=lakeside, owner=carol, name="Lakesides own cohort", shared=True)
        made = StudyCheck.objects.create(organisation=lakeside, study=case.study, study_revision=4, state="done")
        alert = SeriesCheck.objects.create(
            organisation=lakeside, study=case.study, series=image.series, check_made=made, state="held",
            verdict="mismatch", found="ct", probability=0.9,
            images=[{"sop_instance_uid": image.sop_uid, "category": "ct", "probability": 0.9}],
        )  # fmt: skip
        line = PixelQuestion.objects.create(
            organisation=lakeside,
            receipt=receipt,
            box=[1, 2, 30, 40],
            kind="text",
            certainty=0.4,
            rule="x",
            state="open",
        )
        looked = PixelLook.objects.create(
            organisation=lakeside, user=self.people["dave"], questions=[line.pk], reply_key=b"0" * 32
        )
        who = ZoneLook.objects.create(
            organisation=lakeside, user=self.people["dave"], about="identity", pseudonym="PLAKESIDE",
            reason="Lakesides reason to look", reply_key=b"0" * 32,
        )  # fmt: skip
        rules = SiteRules.objects.create(
            organisation=lakeside, number=77, note="Lakesides note on rules", by=self.people["dave"]
        )
        taught = TermChange.objects.create(
            organisation=lakeside, user=self.people["dave"], does="teach", which="white", state="asked"
        )
        return {
            "term_change": taught.pk,
            "site_rules": rules.number,
            "site_note": rules.note,
            "zone_look": who.pk,
            "why": who.reason,
            "because": "Asked for by telephone",
            "pixel_question": line.pk,
            "pixel_look": looked.pk,
            "report_source": told.name,
            "sender": sender.pk,
            "sender_name": sender.name,
            "pacs": pacs.pk,
            "pacs_name": pacs.name,
            "peer_query": asked.pk,
            "fetch": fetch.pk,
            "fetch_error": fetch.error,
            "standing": standing.pk,
            "routing": routing.pk,
            "routing_name": routing.name,
            "delivery": delivery.pk,
            "standing_name": standing.name,
            "alert": alert.pk,
            "view": view.pk,
            "view_name": view.name,
            "lakeside": lakeside.pk,
            "alice_pk": alice.pk,
            "alice_name": "Alice Adler",
            "membership": alice.memberships.get().pk,
            "token": token.pk,
            "token_name": token.name,
            "ledger": "lakesides-ledger",
            "programme": case.programme.slug,
            "case": case.number,
            "assignment": held.pk,
            "cohort": cohort.pk,
            "cohort_name": cohort.name,
            "workitem": uid_of(held.pk, 0),
            "aet": "WATCH",
            "worklist_uid": "1.2.840.10008.5.1.4.34.5",
            "answers": answers(True),
            "key": uuid.uuid4(),
            "study_uid": case.study.study_uid,
            "series_uid": image.series.series_uid,
            "sop_uid": image.sop_uid,
            "numbers": "1",
            "place": "7FE00010",
            "run": run.pk,
            "failed_run": failed.pk,
            "function": "lakesides-own-function",
            "version": version.pk,
            "data_set": data_set.pk,
            "peer": peer.pk,
            "peer_name": peer.name,
            "report": report.pk,
            "layer": layer.sop_uid,
            "return": back.pk,
            "source": source.pk,
            "source_name": source.name,
            "rule": rule.pk,
            "rule_name": rule.name,
            "quarantined": receipt.pk,
        }

    def __getitem__(self, name: str) -> Any:
        return self.objects[name]

    def get(self, name: Any, default: Any) -> Any:
        return self.objects.get(name, default) if isinstance(name, str) else default

    def bearer(self, name: str, organisation: Organisation) -> Client:
        text = create_token(self.people[name], organisation, "walk")[1]
        return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})

    def client(self, name: str) -> Client:
        if name in self.bearers:
            return self.bearer(*self.bearers[name])
        client = Client(raise_request_exception=False)
        client.force_login(self.people[name])
        return client


def _presentation(image: Instance) -> bytes:
    """A presentation state of another system with one point on an image."""
    source = headers(Instance.objects.filter(pk=image.pk))
    point = Shape(image.sop_uid, 1, "arrow", ((3.0, 4.0), (5.0, 6.0)), "Mass", "OTHERS", "a")
    (state,) = gsps.build(source, gsps.Overlay([point], {}, "u", "s", timezone.now(), "Others", "d", "1", "s"))
    out = io.BytesIO()
    state.save_as(out, enforce_file_format=True)
    return out.getvalue()
