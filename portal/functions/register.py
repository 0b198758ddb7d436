"""Registering function packages. Apart from the other actions because it brings PyTorch."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import transaction

from inference.package import load
from inference.package.manifest import CARD
from portal.core.errors import Refused
from portal.functions.models import FunctionVersion, InferenceFunction


@transaction.atomic
def register_package(folder: Path) -> FunctionVersion:
    """Register a function package; twice has the effect of once.

    Raises PackageError when a file is missing or a hash is wrong, Refused when the same version is known with
    other weights or the folder lies outside CONCORD_PACKAGES.
    """
    folder = folder.resolve()
    if not folder.is_relative_to(settings.PACKAGES_ROOT):
        raise Refused("elsewhere", f"{folder.name} does not lie in CONCORD_PACKAGES, where the workers look.")
    manifest = load(folder, "cpu").manifest
    function, _ = InferenceFunction.objects.update_or_create(
        slug=manifest.id,
        defaults={
            "name": manifest.title,
            "modalities": list(manifest.category.modality),
            "body_parts": [manifest.category.body_region] if manifest.category.body_region else [],
            "output_type": manifest.output_type,
        },
    )
    version = FunctionVersion.objects.filter(function=function, version=manifest.version).first()
    if version is None:
        return FunctionVersion.objects.create(
            function=function,
            version=manifest.version,
            state=FunctionVersion.State.REGISTERED,
            package=folder.relative_to(settings.PACKAGES_ROOT).as_posix(),
            weights_sha256=manifest.weights_sha256,
            manifest={
                "classes": list(manifest.classes),
                "input_size": list(manifest.input_size),
                "rows": list(manifest.rows),
                "thresholds": manifest.thresholds,
                "training": manifest.training,
                "metrics": manifest.metrics,
                "licence": manifest.licence,
            },
            card=(folder / CARD).read_text(encoding="utf-8"),
        )
    if version.weights_sha256 != manifest.weights_sha256:
        words = f"{manifest.id} {manifest.version} is registered with other weights; give it a new version."
        raise Refused("other_weights", words)
    return version
