"""Every write of the registry: registering packages, and the life of a version (seed 001, FIG. 5B–6B)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from inference.package import load
from inference.package.manifest import CARD
from portal.accounts.models import Membership, Role
from portal.accounts.queries import organisation_ids
from portal.core.errors import Refused
from portal.core.states import check
from portal.functions.models import FunctionVersion, InferenceFunction


@transaction.atomic
def register_package(folder: Path) -> FunctionVersion:
    """Register a function package; twice has the effect of once.

    Raises PackageError when a file is missing or a hash is wrong, Refused when the same version is known with
    other weights.
    """
    package = load(folder, "cpu")
    manifest = package.manifest
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
            package=folder.resolve().relative_to(settings.PACKAGES_ROOT).as_posix(),
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


@transaction.atomic
def move(version: FunctionVersion, after: str, user: Any = None) -> FunctionVersion:
    """Move a version along its life. Putting one into service takes the one before it out.

    user  None for the house's own commands. Raises Refused without the engineer's role, IllegalTransition.
    """
    if user is not None and not _is_engineer(user, version):
        raise Refused("not_yours", "Only a model engineer may do that.", status=404)
    check("FunctionVersion", FunctionVersion.TRANSITIONS, version.state, after)
    if after == FunctionVersion.State.IN_SERVICE:
        others = FunctionVersion.objects.select_for_update().filter(
            function=version.function_id, state=FunctionVersion.State.IN_SERVICE
        )
        for other in others:
            other.advance(FunctionVersion.State.OUT_OF_SERVICE)
    if not version.advance(after):
        raise Refused("wrong_state", "Someone else has just changed this version.")
    return version


def _is_engineer(user: Any, version: FunctionVersion) -> bool:
    # functions offered to all are looked after by the engineers of any organisation that uses them
    owner = version.function.organisation_id
    ids = [owner] if owner else organisation_ids(user)
    rows = Membership.objects.filter(user=user.pk, active=True, organisation__in=ids)
    return rows.filter(organisation__in=organisation_ids(user), roles__contains=[Role.ENGINEER]).exists()
