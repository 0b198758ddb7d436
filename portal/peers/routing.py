"""Routing: complete studies go on to the peers that rules name, under their pseudonyms."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.models import Instance, Study
from portal.core import outbox
from portal.core.errors import Refused
from portal.peers import client, outgoing, sending
from portal.peers.actions import announce_peer
from portal.peers.models import Delivery, RoutingRule
from portal.peers.rules import fits


def save_rule(user: Any, rule: RoutingRule) -> RoutingRule:
    """Enter or change a routing rule (audited by trigger); it holds for studies that settle from now on.

    Raises Refused when its name is taken or its peer is another organisation's, 404 without the role.
    """
    require_role(user, rule.organisation_id, Role.PACS_ADMIN)
    if rule.peer.organisation_id != rule.organisation_id or not rule.peer.host:
        raise Refused("no_peer", "Nothing can be sent to this peer; it has no address.", status=422)
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError:
        raise Refused("taken", "Another routing rule has this name.", status=422) from None
    return rule


def matches(rule: RoutingRule, study: Study) -> bool:
    """Whether a study goes on by a rule; never back to the peer that it came from."""
    if study.source_id and study.source_id == rule.peer.source_id:
        return False
    if rule.source_id and rule.source_id != study.source_id:
        return False
    if rule.modalities and not set(rule.modalities) & set(study.modalities):
        return False
    if rule.body_parts and study.body_part.upper() not in rule.body_parts:
        return False
    return not rule.description or fits(rule.description, study.description)


def route_study(study_pk: int) -> list[Delivery]:
    """Queue a complete study for every rule that it fits; again only when it has grown."""
    study = Study.objects.get(pk=study_pk)
    rules = RoutingRule.objects.filter(organisation=study.organisation_id, active=True, peer__active=True)
    made = []
    for rule in rules.select_related("peer"):
        if not matches(rule, study):
            continue
        with transaction.atomic():
            row, new = Delivery.objects.get_or_create(
                rule=rule,
                study=study,
                defaults={"organisation_id": study.organisation_id, "state": Delivery.State.QUEUED},
            )
            if new:
                outbox.emit(Delivery.TOPIC, row.pk)
            grown = row.state == Delivery.State.SENT and row.sent < study.instance_count
            if new or (grown and outgoing.queue_again(row, _move)):
                made.append(row)
    return made


def queue_due(limit: int = 100) -> int:
    """Queue failed deliveries whose pause is over. Returns how many."""
    return outgoing.queue_due(Delivery.objects.filter(rule__active=True).select_related("rule__peer"), _move, limit)


def retry(user: Any, row: Delivery) -> Delivery:
    """Send a failed delivery again now, its attempts counted anew."""
    return outgoing.retry(user, row, row.organisation_id, _move)


def send_delivery(delivery_pk: Any) -> Delivery:
    """Send a study's instances to a peer over one association; twice has the effect of once at the peer."""
    row = Delivery.objects.select_related("rule__peer", "study").get(pk=delivery_pk)
    if row.state != Delivery.State.QUEUED:
        return row
    columns = ("name", "sop_class", "sop_uid", "transfer_syntax", "size")
    found = [sending.Stored.of(one) for one in Instance.objects.filter(study=row.study).order_by("pk").only(*columns)]
    try:
        client.send(row.rule.peer, found)
    except client.NotAnswered as error:
        return outgoing.not_sent(row, _move, str(error))
    _move(row, Delivery.State.SENT, attempts=row.attempts + 1, sent=len(found), error="")
    return row


def _move(row: Delivery, state: str, **fields: Any) -> bool:
    with transaction.atomic():
        moved = row.advance(state, **fields)
        if moved:
            announce_peer(row.rule.peer)
    return moved
