"""Addresses of de-identification: the review of pixels, looks into the identity zone, site rules, reports."""

from tests.architecture.access_bodies import LINE
from tests.architecture.access_routes import ALL, BOTH, DAVE, GET, POST, READS, Route

DEIDENTIFY: dict[str, Route] = {
    "pixels/": Route(get=DAVE, own=GET, shows="source_name", seen_by=DAVE),
    "pixels/decide/": Route(post=DAVE, body=LINE),
    "pixels/look/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "pixel_look"}, body=LINE),
    "ingest/<pk>/deidentification/": Route(get={"carol", "dave"}, ids={"pk": "quarantined"}),
    "api/v1/receipts/<pk>/deidentification/": Route(get={"carol", "dave"}, ids={"pk": "quarantined"}),
    "scans/<study_uid>/deidentification/": Route(get=READS, ids={"study_uid": "study_uid"}),
    "api/v1/studies/<study_uid>/deidentification/": Route(get=READS, ids={"study_uid": "study_uid"}),
    "site-rules/": Route(get=DAVE, own=GET, shows="site_note", seen_by=DAVE),
    "site-rules/new/": Route(get=DAVE, post=DAVE, own=BOTH, body={"text": "", "note": "x"}),
    "site-rules/<number>/": Route(get=DAVE, ids={"number": "site_rules"}),
    "site-rules/<number>/script.xml": Route(get=DAVE, ids={"number": "site_rules"}),
    "api/v1/site-rules/": Route(
        get=ALL, post=DAVE, own=BOTH, body={"text": "", "note": "x"}, shows="site_note", seen_by=DAVE
    ),
    "api/v1/site-rules/<number>/": Route(get=DAVE, ids={"number": "site_rules"}),
    "lists/": Route(get=DAVE, post=DAVE, own=BOTH, body={"reason": "because"}),
    "lists/change/": Route(post=DAVE, own=POST, body={"text": "Blauwal", "which": "white"}),
    "api/v1/term-changes/": Route(
        get=ALL,
        post=DAVE,
        own=BOTH,
        body={"does": "teach", "which": "white", "texts": ["Blauwal"]},
        shows="term_change",
        seen_by=DAVE,
    ),
    "api/v1/term-changes/<pk>/": Route(get=DAVE, ids={"pk": "term_change"}),
    "looks/": Route(get=DAVE, own=GET, shows="why", seen_by=DAVE),
    "looks/<pk>/": Route(get=DAVE, post=DAVE, ids={"pk": "zone_look"}),
    "scans/<study_uid>/identity/": Route(
        get=DAVE, post=DAVE, ids={"study_uid": "study_uid"}, body={"reason": "because"}
    ),
}
