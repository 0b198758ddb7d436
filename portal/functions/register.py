"""Registering function packages. Apart from the other actions because it brings PyTorch."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import transaction

from inference.package import load
from inference.package.manifest import CARD
from portal.accounts.models import Organisation, Role, User
from portal.accounts.queries import has_role
from portal.core.errors import Refused
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.functions.queries import is_engineer


@transaction.atomic
def register_package(folder: Path, owner: Organisation | None = None, by: User | None = None) -> FunctionVersion:
    """Register a function package; twice has the effect of once.

    owner  whose engineers look after it from now on; None leaves a known function to its owner
    by     the engineer who asks; None: the house's own commands
    Raises PackageError when a file is missing or a hash is wrong, Refused when the function belongs to another
    owner, the same version is known with other weights, or the folder lies outside CONCORD_PACKAGES.
    """
    folder = folder.resolve()
    if not folder.is_relative_to(settings.PACKAGES_ROOT):
        raise Refused("elsewhere", f"{folder.name} does not lie in CONCORD_PACKAGES, where the workers look.")
    manifest = load(folder, "cpu").manifest
    known = InferenceFunction.objects.select_for_update().filter(slug=manifest.id).first()
    keeper = known.owner_id if known else None
    if keeper is not None and owner is not None and keeper != owner.pk:
        raise Refused("not_yours", f"{manifest.id} belongs to another organisation.")
    keeper = keeper or (owner.pk if owner else None)
    if by is not None and ((known and not is_engineer(by, known)) or not has_role(by, keeper, Role.ENGINEER)):
        raise Refused("not_yours", "Only an engineer of its owner registers a function's versions.", status=404)
    function, _ = InferenceFunction.objects.update_or_create(
        slug=manifest.id,
        defaults={
            "owner_id": keeper,
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
                "preprocessing": manifest.preprocessing,
                "rows": list(manifest.rows),
                "thresholds": manifest.thresholds,
                "training": manifest.training,
                "metrics": manifest.metrics,
                "licence": manifest.licence,
                "trial": manifest.trial,
            },
            card=(folder / CARD).read_text(encoding="utf-8"),
        )
    if version.weights_sha256 != manifest.weights_sha256:
        words = f"{manifest.id} {manifest.version} is registered with other weights; give it a new version."
        raise Refused("other_weights", words)
    return version
