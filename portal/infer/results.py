"""Findings as rows: case result, image results and matrices, with where they come from."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

from inference.findings import Findings
from portal.archive.models import Instance
from portal.infer.models import CaseResult, ImageResult, Matrix, Run


def store_findings(run: Run, instances: Sequence[Instance], findings: Findings) -> dict[str, Any]:
    """Write all rows of a run, replacing what an attempt before left; returns the provenance.

    Called inside the transaction that closes the run, so results are there whole or not at all.
    """
    ImageResult.objects.filter(run=run).delete()
    CaseResult.objects.filter(run=run).delete()
    by_uid = {instance.sop_uid: instance for instance in instances}
    thresholds = dict(findings.parameters.get("thresholds") or {})
    classes = list(findings.parameters.get("classes") or [])
    for image in findings.images:
        row = ImageResult.objects.create(
            run=run,
            instance=by_uid[image.sop_instance_uid],
            score=image.score,
            classes=classes,
            global_probabilities={name: round(p, 5) for name, p in image.global_probabilities.items()},
            present=image.present,
            thresholds=thresholds,
            any_abnormality=image.any_abnormality,
            regions=[region.to_dict() for region in image.regions],
        )
        Matrix.objects.bulk_create(
            Matrix(image=row, row=n, shape=list(m.shape), data=gzip.compress(m.tobytes(), 6, mtime=0))
            for n, m in image.matrices.items()
        )
    _store_case(run, findings)
    return {
        "function": findings.function_id,
        "version": findings.version,
        "weights_sha256": findings.weights_sha256,
        "code_version": findings.code_version,
        "device": findings.device,
        "parameters": findings.parameters,
        "inputs": [{"sop_uid": i.sop_uid, "sha256": i.sha256} for i in instances],
    }


def _store_case(run: Run, findings: Findings) -> None:
    warnings = list(findings.warnings)
    if findings.case is None:
        top = max((p for i in findings.images for p in i.global_probabilities.values()), default=None)
        call = any(i.any_abnormality for i in findings.images)
        CaseResult.objects.create(run=run, score=top, call=call, warnings=warnings)
        return
    case = findings.case
    CaseResult.objects.create(
        run=run,
        score=case.score,
        call=case.call,
        threshold=case.threshold,
        sides=case.sides,
        views=case.views,
        missing_views=list(case.missing_views),
        lesions=[_lesion(lesion.to_dict()) for lesion in case.lesions],
        warnings=warnings,
    )


def _lesion(raw: dict[str, Any]) -> dict[str, Any]:
    return {"sop_uid": raw.pop("sop_instance_uid"), **raw}
