"""What models found in a cohort's scans, for those whom no blinding keeps from it."""

from __future__ import annotations

import json
import re
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, Subquery, Value

from portal.archive.models import Study
from portal.archive.queries import organisations
from portal.core.tables import Filter
from portal.infer.models import CaseResult, ImageResult, Run
from portal.programmes.models import Assignment, PanelMember

# of each function the newest run on a scan; a class is found where it is called present on one image or more
FOUND = """
WITH newest AS (
    SELECT DISTINCT ON (r.study_id, v.function_id) r.id, r.study_id, f.output_type
    FROM infer_run r JOIN functions_functionversion v ON v.id = r.version_id
    JOIN functions_inferencefunction f ON f.id = v.function_id
    WHERE r.state = 'done' AND r.study_id = ANY (%s)
    ORDER BY r.study_id, v.function_id, r.study_revision DESC, r.queued_at DESC
), found AS (
    SELECT n.study_id, p.key AS word FROM newest n JOIN infer_imageresult i ON i.run_id = n.id
    CROSS JOIN LATERAL jsonb_each(i.present) p WHERE p.value = 'true'::jsonb
    UNION
    SELECT n.study_id, n.output_type FROM newest n JOIN infer_caseresult c ON c.run_id = n.id WHERE c.call
)
SELECT word, count(DISTINCT study_id) FROM found GROUP BY word ORDER BY 2 DESC, 1
"""


def may(user: Any, organisation: int) -> bool:
    """Whether the person may know what was said about an organisation's scans: nobody who reads, or may come to.

    Stricter than the blinding of a single scan (docs/decisions/0004), which would have to be asked for each.
    """
    reads = PanelMember.objects.filter(user=user.pk, part=PanelMember.Part.READER)
    holds = Assignment.objects.filter(reader=user.pk).exclude(kind=Assignment.Kind.ARBITRATION)
    return organisation in organisations(user, "output") and not reads.exists() and not holds.exists()


def present(word: str) -> Q:
    """Studies in which the newest run of a function calls it present, on an image or for the case as a whole.

    word  a class, or malignancy and the like; case, spaces and underscores do not matter
    """
    newer = Run.objects.filter(
        study=OuterRef("study"), version__function=OuterRef("version__function"), state=Run.State.DONE
    )
    newest = newer.order_by("-study_revision", "-queued_at").values("pk")[:1]
    runs = Run.objects.filter(study=OuterRef("pk"), state=Run.State.DONE, pk=Subquery(newest))
    pattern = "^" + re.sub(r"(?:\\?[ _])+", "[ _]+", re.escape(word.strip())) + "$"
    path = f'$.keyvalue() ? (@.value == true && @.key like_regex {json.dumps(pattern)} flag "i")'
    called = ImageResult.objects.filter(run=OuterRef("pk")).filter(HasPath(F("present"), Value(path)))
    whole = CaseResult.objects.filter(
        run=OuterRef("pk"), call=True, run__version__function__output_type__iexact=word.strip().replace(" ", "_")
    )
    return Q(Exists(runs.filter(Exists(called) | Exists(whole))))


class HasPath(Func):
    """Whether a JSON path finds something (PostgreSQL's jsonb_path_exists)."""

    function = "jsonb_path_exists"
    template = "%(function)s(%(expressions)s::jsonpath)"
    output_field = BooleanField()


FILTER = Filter("finding", "Called present by a model", present, kind="text", extra=True)


def count(user: Any, rows: QuerySet[Study]) -> list[tuple[str, int]] | None:
    """Studies by what models call present; None for people who read, or may come to: a count can tell of one scan."""
    places = [pk for pk in organisations(user, "output") if may(user, pk)]
    if not places:
        return None
    mine = rows.filter(organisation__in=places).values_list("pk", flat=True)
    with connection.cursor() as cursor:
        cursor.execute(FOUND, [list(mine)])
        return [(str(word).replace("_", " "), int(n)) for word, n in cursor.fetchall()]
