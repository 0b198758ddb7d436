"""Addresses of the doors: what came in, sources, header rules, peers, senders of messages."""

from tests.architecture.access_bodies import PACS, RULE, SENDER, SOURCE
from tests.architecture.access_routes import ALL, BOTH, DAVE, DECIDES, GET, POST, SENDS, Route

UPLOADS = {"ingest/upload/", "ingest/reports/"}  # pages whose POST programs use too

DOORS: dict[str, Route] = {
    "ingest/": Route(get={"carol", "dave"}, own=GET),
    "ingest/quarantine/": Route(get=DAVE, own=GET, shows="quarantined", seen_by=DAVE),
    "ingest/quarantine/decide/": Route(post=DAVE, body={"do": "discard", "row": "quarantined", "confirmed": "1"}),
    "ingest/upload/": Route(get=SENDS, post=SENDS, own=BOTH),
    "ingest/reports/": Route(get=SENDS, post=SENDS, own=BOTH, shows="report_source", seen_by=DECIDES),
    "ingest/sources/": Route(get=DAVE, own=GET, shows="source_name", seen_by=DAVE),
    "ingest/sources/new/": Route(get=DAVE, post=DAVE, own=BOTH, body=SOURCE),
    "ingest/sources/<pk>/score/": Route(get=DAVE, ids={"pk": "source"}),
    "ingest/sources/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "source"}, body=SOURCE),
    "ingest/rules/": Route(get=DAVE, own=GET, shows="rule_name", seen_by=DAVE),
    "ingest/rules/new/": Route(get=DAVE, post=DAVE, own=BOTH, body=RULE),
    "ingest/rules/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "rule"}, body=RULE),
    "peers/": Route(get=DAVE, own=GET, shows="pacs_name", seen_by=DAVE),
    "peers/new/": Route(get=DAVE, post=DAVE, own=BOTH, body=PACS),
    "peers/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "pacs"}, body=PACS),
    "peers/<pk>/echo/": Route(post=DAVE, ids={"pk": "pacs"}),
    "peers/<pk>/query/": Route(get=DAVE, post=DAVE, ids={"pk": "pacs"}, body={"PatientID": "1"}),
    "peers/queries/<pk>/": Route(get=DAVE, ids={"pk": "peer_query"}),
    "peers/queries/<pk>/fetch/": Route(post=DAVE, ids={"pk": "peer_query"}, body={"number": "0"}),
    "peers/fetches/": Route(get=DAVE, own=GET, shows="fetch_error", seen_by=DAVE),
    "peers/fetches/<pk>/": Route(post=DAVE, ids={"pk": "fetch"}, body={"do": "retry"}),
    "peers/standing/": Route(get=DAVE, own=GET, shows="standing_name", seen_by=DAVE),
    "peers/standing/new/": Route(get=DAVE, post=DAVE, own=BOTH),
    "peers/standing/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "standing"}),
    "peers/standing/<pk>/run/": Route(post=DAVE, ids={"pk": "standing"}),
    "peers/routing/": Route(get=DAVE, own=GET, shows="routing_name", seen_by=DAVE),
    "peers/routing/new/": Route(get=DAVE, post=DAVE, own=BOTH),
    "peers/routing/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "routing"}),
    "peers/deliveries/<pk>/retry/": Route(post=DAVE, ids={"pk": "delivery"}),
    "peers/hl7/": Route(get=DAVE, own=GET, shows="sender_name", seen_by=DAVE),
    "peers/hl7/new/": Route(get=DAVE, post=DAVE, own=BOTH, body=SENDER),
    "peers/hl7/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "sender"}, body=SENDER),
    "peers/throughput/": Route(get=DAVE, own=GET),
    "api/v1/receipts/": Route(get=ALL, own=GET, shows="quarantined", seen_by={"carol", "dave"}),
    "api/v1/reports/": Route(post=SENDS, own=POST, body={"text": "Clear.", "patient_id": "P1", "accession": "A1"}),
    "api/v1/quarantine/": Route(get=ALL, own=GET, shows="quarantined", seen_by=DAVE),
    "api/v1/quarantine/<pk>/retry/": Route(post=DAVE, ids={"pk": "quarantined"}),
    "api/v1/quarantine/<pk>/discard/": Route(post=DAVE, ids={"pk": "quarantined"}),
}
