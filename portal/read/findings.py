"""What models found in a cohort's scans, for those whom no blinding keeps from it."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import QuerySet

from portal.archive.models import Study
from portal.archive.queries import organisations
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


def count(user: Any, rows: QuerySet[Study]) -> list[tuple[str, int]] | None:
    """Studies by what models call present; None for people who read, or may come to: a count can tell of one scan.

    Stricter than the blinding of a single scan (docs/decisions/0004), which would have to be asked for each.
    """
    reads = PanelMember.objects.filter(user=user.pk, part=PanelMember.Part.READER)
    holds = Assignment.objects.filter(reader=user.pk).exclude(kind=Assignment.Kind.ARBITRATION)
    if reads.exists() or holds.exists():
        return None
    mine = rows.filter(organisation__in=organisations(user, "output")).values_list("pk", flat=True)
    if not organisations(user, "output"):
        return None
    with connection.cursor() as cursor:
        cursor.execute(FOUND, [list(mine)])
        return [(str(word).replace("_", " "), int(n)) for word, n in cursor.fetchall()]
