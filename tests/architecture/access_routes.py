"""What a row of the table of addresses says, and the people and objects that its rows name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.architecture.access_world import LAKESIDE

READS = {"alice", "bob", "carol", "erin", "dave", "ada"}  # every role but the account administrator's
SENDS = RUNS = {"carol", "erin", "dave"}
DECIDES = {"carol", "dave"}
PANEL = {"alice", "bob", "carol", "erin", "ada"}
REGISTRY = {"carol", "erin", "dave", "ada"}
ALL = set(LAKESIDE)
WORKLIST = {"alice", "bob", "carol"}  # who holds it, who is told so, who coordinates it
ALICE, CAROL, DAVE, ERIN, GRACE = {"alice"}, {"carol"}, {"dave"}, {"erin"}, {"grace"}


@dataclass
class Route:
    """Who may do what at one address.

    get … delete    who may, of Lakeside's people; None: nobody, the method is not known
    query           what a GET asks behind the question mark, in the same way
    body            what is sent: text stands for the world's object of that name where there is one
    ids             parameter of the address → name of the world's object
    shows           lists: an object that must stand in the answer for `seen_by`, and in nobody else's
    own             what is shown or changed is always one's own: outsiders are answered, about theirs
    """

    get: set[str] | None = None
    post: set[str] | None = None
    put: set[str] | None = None
    patch: set[str] | None = None
    delete: set[str] | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    shows: str = ""
    seen_by: set[str] = field(default_factory=set)
    own: frozenset[str] = frozenset()

    @property
    def shown_by(self) -> str:
        return "post" if self.get is None else "get"

    def may(self, method: str) -> set[str] | None:
        return getattr(self, method, None)


GET, POST, BOTH = frozenset({"get"}), frozenset({"post"}), frozenset({"get", "post"})
PROGRAMME = {"slug": "programme"}
CASE = {"slug": "programme", "number": "case"}
FUNCTION = {"slug": "function"}
HELD = {"assignment_id": "assignment"}
WORKITEM = {"uid": "workitem"}
WADO_URI = {"requestType": "WADO", "studyUID": "study_uid", "seriesUID": "series_uid", "objectUID": "sop_uid"}
STUDY = "dicomweb/studies/<study_uid>"
SERIES = f"{STUDY}/series/<series_uid>"
INSTANCE = f"{SERIES}/instances/<sop_uid>"
FRAMES = f"{INSTANCE}/frames/<numbers>"
COHORT = {"pk": "cohort"}
WORKITEMS = {
    "dicomweb/workitems": Route(get=ALL, own=GET, shows="workitem", seen_by=WORKLIST),
    "dicomweb/workitems/<uid>": Route(get=WORKLIST, post=WORKLIST, ids=WORKITEM),
    "dicomweb/workitems/<uid>/state": Route(put=WORKLIST, ids=WORKITEM),
    "dicomweb/workitems/<uid>/cancelrequest": Route(post=WORKLIST, ids=WORKITEM),
    "dicomweb/workitems/<uid>/subscribers/<aet>": Route(post=WORKLIST, delete=WORKLIST, ids=WORKITEM),
    "dicomweb/workitems/<uid>/subscribers/<aet>/suspend": Route(post=WORKLIST, ids={"uid": "worklist_uid"}),
    "dicomweb/subscribers/<aet>": Route(),  # a web socket
}
