"""From network outputs to Findings."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference import __version__
from inference.findings import CaseFindings, Findings, ImageFindings, Lesion
from inference.package.manifest import Manifest
from inference.postprocess import ViewScore, case_findings, find_regions
from inference.postprocess.joint import any_abnormality, joined_by_correlation

if TYPE_CHECKING:
    from inference.package.function import Outputs
    from inference.preprocess import Read

JOINING = 0.5  # correlation from which an absent class is said to go with a present one


def findings_of(manifest: Manifest, outputs: Outputs, device: str) -> Findings:
    """Findings of all images; for malignancy with the case and its gate."""
    started = time.perf_counter()
    images = [_image(manifest, outputs, index) for index in range(len(outputs.images))]
    case, warnings = None, list(outputs.refused)
    if manifest.output_type == "malignancy":
        case = _case(manifest, images)
        if case.missing_views:
            warnings.append(f"views not there: {', '.join(case.missing_views)}")
        if not case.call:  # the gate holds for every way out of the function
            images = [_gated(image) for image in images]
    for image in images:
        warnings += [f"{image.sop_instance_uid}: {text}" for text in image.warnings]
    timings = {key: round(value, 1) for key, value in outputs.timings_ms.items()}
    timings["findings"] = round((time.perf_counter() - started) * 1000, 1)
    return Findings(
        function_id=manifest.id,
        version=manifest.version,
        weights_sha256=manifest.weights_sha256,
        code_version=__version__,
        device=device,
        parameters={
            "classes": list(manifest.classes),
            "thresholds": dict(manifest.thresholds),
            "region_thresholds": dict(manifest.region_thresholds),
            "input_size": list(manifest.input_size),
            "preprocessing": manifest.preprocessing,
            "rows": list(manifest.rows),
        },
        timings_ms=timings,
        output_type=manifest.output_type,
        images=tuple(images),
        case=case,
        warnings=tuple(warnings),
    )


def _image(manifest: Manifest, outputs: Outputs, index: int) -> ImageFindings:
    read, maps = outputs.images[index], outputs.maps[index]
    pooled = {name: float(outputs.pooled[index, k]) for k, name in enumerate(manifest.classes)}
    present = {name: value >= manifest.thresholds[name] for name, value in pooled.items()}
    some = float(any_abnormality(outputs.pooled[index]))
    limit = manifest.thresholds.get("any")
    joined = {}
    if manifest.correlations is not None:
        joined = joined_by_correlation(present, manifest.correlations, JOINING)
    malignancy = manifest.output_type == "malignancy"
    warnings = [*read.source.warnings, *read.prepared.warnings]
    laterality = read.source.laterality
    if malignancy and laterality is None:
        # Displayed by convention with the left breast's chest wall at the left edge.
        laterality = "R" if read.prepared.chest_wall == "right" else "L"
        warnings.append(f"no laterality in the header, {laterality} taken from the picture")
    if malignancy and read.source.view is None:
        warnings.append("no view position in the header")
    finest = max(maps)
    places = outputs.places[index] if outputs.places else None
    regions = [place for place in places or () if present[place.class_name]]
    for k, name in enumerate(manifest.classes if places is None else ()):
        if present[name] or malignancy:
            regions += find_regions(
                maps[finest][k],
                manifest.region_thresholds[name],
                name,
                manifest.input_size,
                read.prepared.geometry.to_image,
            )
    regions.sort(key=lambda region: -region.score)
    return ImageFindings(
        sop_instance_uid=read.source.sop_instance_uid,
        study_instance_uid=read.source.study_instance_uid,
        rows=read.shape[0],
        columns=read.shape[1],
        laterality=laterality,
        view=read.source.view,
        score=pooled[manifest.classes[0]] if malignancy else None,
        matrices={row: _matrix(manifest, read, grid, row) for row, grid in maps.items()},
        global_probabilities=pooled,
        present=present,
        any_abnormality=any(present.values()) or (limit is not None and some >= limit),
        any_probability=some,
        joined={name: other for name, (other, _) in joined.items()},
        regions=tuple(regions),
        warnings=tuple(warnings),
    )


def _matrix(manifest: Manifest, read: Read, grid: NDArray[np.float32], row: int) -> NDArray[np.uint8]:
    """(K, N, N) uint8 over the whole image."""
    if manifest.preprocessing != "whole":
        geometry = read.prepared.geometry
        grid = np.stack([geometry.map_to_image(plane, manifest.input_size, row) for plane in grid])
    return np.round(np.clip(grid, 0, 1) * 255).astype(np.uint8)


def _case(manifest: Manifest, images: list[ImageFindings]) -> CaseFindings:
    scores = [ViewScore(image.laterality or "L", image.view, (image.score or 0.0,)) for image in images]
    lesions = [
        Lesion(image.sop_instance_uid, region.box, region.score, region.class_name, region.polygon)
        for image in images
        for region in image.regions
    ]
    lesions.sort(key=lambda lesion: -lesion.score)
    return case_findings(scores, lesions, manifest.thresholds["case"])


def _gated(image: ImageFindings) -> ImageFindings:
    """The image without any localisation: no regions and no matrices."""
    return replace(image, regions=(), matrices={})
