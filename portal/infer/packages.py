"""Function packages in memory, one process's own; and the check that a gpu worker makes before it starts."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import NoReturn

import torch
from django.conf import settings

from inference.package import FunctionPackage, load
from inference.package.errors import PackageError, WrongHash
from portal.functions.models import FunctionVersion

KEPT = 8
_loaded: OrderedDict[str, FunctionPackage] = OrderedDict()


def package_for(version: FunctionVersion) -> FunctionPackage:
    """The package of a version, loaded when first used; the least recently used one goes first.

    Raises PackageError when it is missing, damaged or not the one that was registered.
    """
    key = f"{version.package}:{version.weights_sha256}"
    if key in _loaded:
        _loaded.move_to_end(key)
        return _loaded[key]
    package = load(settings.PACKAGES_ROOT / version.package, settings.INFERENCE_DEVICE)
    if package.manifest.weights_sha256 != version.weights_sha256:
        raise WrongHash(f"{version.package}: the weights are not those that were registered")
    _loaded[key] = package
    while len(_loaded) > KEPT:
        _loaded.popitem(last=False)
    return package


def check_gpu_worker(queues: list[str], concurrency: object) -> None:
    """End the process with one line when a gpu worker is set up wrongly; load the packages in service.

    A package that cannot be loaded is named and does not stop the others: its runs fail with the same words.
    """
    if str(concurrency) != "1":
        _stop(f"has one process a device, not {concurrency or 'one for each core'}: --concurrency 1")
    if queues != ["gpu"]:
        _stop(f"serves no other queue, not {', '.join(q for q in queues if q != 'gpu')}")
    if settings.INFERENCE_DEVICE == "cuda" and not torch.cuda.is_available():
        _stop("finds no CUDA device here, and CONCORD_DEVICE asks for one")
    if not settings.PACKAGES_ROOT.is_dir():
        _stop(f"finds no folder of packages at {settings.PACKAGES_ROOT} (CONCORD_PACKAGES)")
    for version in FunctionVersion.objects.filter(state=FunctionVersion.State.IN_SERVICE):
        try:
            package_for(version)
        except (PackageError, ValueError) as error:
            sys.stderr.write(f"concord: function {version} cannot be loaded: {error}\n")


def _stop(why: str) -> NoReturn:
    sys.stderr.write(f"concord: a gpu worker {why}\n")
    raise SystemExit(78)  # EX_CONFIG of sysexits.h
