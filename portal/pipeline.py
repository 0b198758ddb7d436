"""Which step follows which: the only module that knows all steps.

A topic is emitted in the transaction that makes the work; each named task is owed once for its key.
"""

FOLLOWS: dict[str, tuple[str, ...]] = {
    "ingest.received": ("portal.deidentify.tasks.deidentify_receipt",),
    "ingest.discarded": ("portal.ingest.tasks.delete_landing_file",),
    "deidentify.done": ("portal.archive.tasks.store_receipt",),
    "deidentify.series_quiet": ("portal.deidentify.tasks.look_at_series",),
    "deidentify.face_decided": ("portal.deidentify.tasks.deidentify_receipt",),
    "deidentify.face_changed": ("portal.deidentify.tasks.renew_face",),
    "deidentify.look_asked": ("portal.deidentify.tasks.answer_look",),
    "deidentify.zone_look_asked": ("portal.deidentify.tasks.answer_zone_look",),
    "deidentify.pixels_kept": ("portal.deidentify.tasks.show_again",),
    "deidentify.term_taught": ("portal.deidentify.tasks.teach_term",),
    "deidentify.term_sent": ("portal.deidentify.tasks.change_terms",),
    "deidentify.done_again": ("portal.archive.tasks.replace_receipt",),
    "archive.study_settled": (
        "portal.check.tasks.begin_check",
        "portal.archive.tasks.measure_study",
        "portal.peers.tasks.fetch_priors",
        "portal.peers.tasks.route_study",
    ),
    "peers.delivery_queued": ("portal.peers.tasks.send_delivery",),
    "peers.echo_asked": ("portal.peers.tasks.echo_peer",),
    "peers.query_asked": ("portal.peers.tasks.run_query",),
    "peers.fetch_asked": ("portal.peers.tasks.run_fetch",),
    "peers.standing_due": ("portal.peers.tasks.run_standing",),
    "peers.commitment_due": ("portal.peers.tasks.deliver_commitment",),
    "peers.commitment_settled": ("portal.export.tasks.commitment_settled",),
    "check.wanted": ("portal.check.tasks.check_study",),
    # checked, passed on unchecked, or decided by a person
    "check.settled": ("portal.infer.tasks.plan_runs", "portal.programmes.tasks.make_cases"),
    "infer.run_planned": ("portal.infer.tasks.prepare_run",),
    "infer.run_queued": ("portal.infer.tasks.execute_run",),
    "infer.run_finished": (
        "portal.programmes.tasks.open_cases",
        "portal.programmes.tasks.raise_priority",
        "portal.second_read.tasks.compare_run",
        "portal.billing.tasks.record_run",
        "portal.export.tasks.queue_run_returns",
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
