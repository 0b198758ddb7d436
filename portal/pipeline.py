"""Which step follows which: the only module that knows all steps.

A topic is emitted in the transaction that makes the work; each named task is owed once for its key.
"""

FOLLOWS: dict[str, tuple[str, ...]] = {
    "ingest.received": ("portal.deidentify.tasks.deidentify_receipt",),
    "ingest.discarded": ("portal.ingest.tasks.delete_landing_file",),
    "deidentify.done": ("portal.archive.tasks.store_receipt",),
    "archive.study_settled": ("portal.check.tasks.begin_check",),
    "check.wanted": ("portal.check.tasks.check_study",),
    # checked, passed on unchecked, or decided by a person
    "check.settled": ("portal.infer.tasks.plan_runs", "portal.programmes.tasks.make_cases"),
    "infer.run_queued": ("portal.infer.tasks.execute_run",),
    "infer.run_finished": (
        "portal.programmes.tasks.open_cases",
        "portal.second_read.tasks.compare_run",
        "portal.billing.tasks.record_run",
    ),
    "read.submitted": (
        "portal.second_read.tasks.compare_reading",
        "portal.billing.tasks.record_reading",
    ),
    "second_read.requested": ("portal.programmes.tasks.offer_second",),
    "second_read.settled": ("portal.consensus.tasks.merge_case",),
    "consensus.truth_set": (
        "portal.score.tasks.score_case",
        "portal.reports.tasks.write_report",
        "portal.export.tasks.queue_returns",
    ),
    "score.scored": ("portal.billing.tasks.record_credits",),
    "export.return_queued": ("portal.export.tasks.send_return",),
    "export.data_set_asked": ("portal.export.tasks.build_data_set",),
}
