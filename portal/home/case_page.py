"""Everything the page of a case shows, gathered for its template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.accounts.models import User
from portal.core import blinding
from portal.home.states import look
from portal.infer.queries import newest_runs, run_summary
from portal.programmes.models import Assignment, Case
from portal.read.models import Reading
from portal.read.rules import ALL, NOTHING
from portal.score.queries import story_for


def shown(question: Mapping[str, Any], value: Any) -> str:
    """An answer in the words of its question."""
    if value is None or value == "" or value == []:
        return "–"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    words = {str(c["value"]): str(c["label"]) for c in question.get("choices") or []}
    if isinstance(value, list):
        return ", ".join(words.get(str(v), str(v)) for v in value)
    return words.get(str(value), str(value))


def answers_table(case: Case, story: Mapping[str, Any]) -> dict[str, Any]:
    """Questions as rows, readings and the truth as columns; rows where readers differ are marked."""
    readings = story["readings"]
    columns = [
        {"name": r["name"], "kind": r["kind"], "marks": r["marks"], "seconds": r["active_seconds"]} for r in readings
    ]
    rows = []
    for question in case.protocol.form:
        said = [shown(question, r["answers"].get(question["key"])) for r in readings]
        truth = story["truth"]
        held = shown(question, truth["answers"].get(question["key"])) if truth else None
        given = {s for s in said if s != "–"}
        rows.append(
            {"label": question["label"], "said": said, "truth": held,
             "differs": question["type"] != "text" and len(given) > 1}
        )  # fmt: skip
    return {"columns": columns, "rows": rows}


def timeline(case: Case, story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What happened, oldest first: [{"at", "words", "tone"}]."""
    kinds = dict(Assignment.Kind.choices)
    events = [{"at": case.created_at, "words": "The case was made from its scan", "tone": "neutral"}]
    for run in newest_runs(case.study):
        if run.finished_at:
            tone = "agreed" if run.state == "done" else "failed"
            words = f"{run.version.function.name} {run.version.version}: {look(run.state).word.lower()}"
            events.append({"at": run.finished_at, "words": words, "tone": tone})
    for r in story.get("read", []):
        events.append({"at": r["submitted_at"], "words": f"{kinds[r['kind']]} submitted", "tone": "accent"})
    for r in story["readings"]:
        events.append({"at": r["submitted_at"], "words": f"{kinds[r['kind']]} by {r['name']}", "tone": "accent"})
    for c in story["comparisons"]:
        asked = c["action"] in {"second_reading", "alert"}
        events.append({"at": c["decided_at"], "words": c["sentence"] or "Compared with the model",
                       "tone": "differs" if asked else "agreed"})  # fmt: skip
    # that a second reading was asked for says that the first one and the model differ
    asked_for = Assignment.objects.filter(case=case).exclude(kind=Assignment.Kind.FIRST)
    for a in asked_for if story["sight"] != NOTHING else asked_for.none():
        words = f"{a.get_kind_display()} asked for"
        events.append({"at": a.created_at, "words": words, "tone": "differs"})
    for c in story["consensus"]:
        words = {"agreed": "Readings merged: agreed", "discrepant": "Readings merged: too far apart",
                 "arbitrated": "Decided by arbitration"}[c["outcome"]]  # fmt: skip
        events.append({"at": c["made_at"], "words": words,
                       "tone": "differs" if c["outcome"] == "discrepant" else "agreed"})  # fmt: skip
    if story["truth"]:
        events.append({"at": story["truth"]["set_at"], "words": "Truth set", "tone": "agreed"})
    return sorted(events, key=lambda e: e["at"])


def case_page(user: User, case: Case) -> dict[str, Any]:
    """The context of `programmes/case.html`: what this person may see of the case now."""
    story = story_for(user, case)
    open_to = story["sight"] != NOTHING and not blinding.hidden(user, case.study_id)
    assignments = Assignment.objects.filter(case=case).select_related("reader").order_by("created_at")
    return {
        "case": case,
        "programme": case.programme,
        "story": story,
        "table": answers_table(case, story),
        "runs": [run_summary(run) for run in newest_runs(case.study)] if open_to else [],
        "timeline": timeline(case, story),
        "drafts": Reading.objects.filter(case=case, state=Reading.State.DRAFT).count(),
        "assignments": assignments if story["sight"] != NOTHING else assignments.none(),
        "hides_answers": story["sight"] == NOTHING,
        "hides_names": story["sight"] != ALL,
        "hides_model": not open_to,
    }
