"""The serving engine of a gpu worker's process, and the check that the worker makes before it starts."""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import NoReturn

import torch
from django.conf import settings

from inference.package import FunctionPackage
from inference.package.errors import PackageError
from inference.serving import Engine, PackageCache
from portal.functions.models import FunctionVersion

SWITCH_SECONDS = 0.0002
_lock = threading.Lock()


@cache
def packages() -> PackageCache:
    """The packages in this process's memory."""
    return PackageCache(
        settings.INFERENCE_MEMORY_MB << 20,
        settings.INFERENCE_DEVICE,
        settings.INFERENCE_PRECISION,
        settings.INFERENCE_COMPILE,
    )


@cache
def _engine() -> Engine:
    return Engine(readers=settings.INFERENCE_READERS, batch=settings.INFERENCE_BATCH)


def engine() -> Engine:
    """The one engine of this process; its threads start with the first run, after Celery has forked or not."""
    with _lock:
        return _engine()


def package_for(version: FunctionVersion) -> FunctionPackage:
    """The package of a version. PackageError when it is missing, damaged or not the one that was registered."""
    return packages().get(settings.PACKAGES_ROOT / version.package, version.weights_sha256)


def check_gpu_worker(queues: list[str], pool: str, concurrency: object) -> None:
    """End the process with one line when a gpu worker is set up wrongly; load and warm the packages in service.

    A package that cannot be loaded is named and does not stop the others: its runs fail with the same words.
    """
    if pool not in {"thread", "threads"} and not (pool == "solo" and str(concurrency) in {"None", "0", "1"}):
        _stop(f"has one process a device, with a thread for each scan under way: --pool threads, not {pool}")
    if queues != ["gpu"]:
        _stop(f"serves no other queue, not {', '.join(q for q in queues if q != 'gpu')}")
    kind, _, number = settings.INFERENCE_DEVICE.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        _stop(f"finds no {settings.INFERENCE_DEVICE} here, and CONCORD_DEVICE asks for it")
    if not settings.PACKAGES_ROOT.is_dir():
        _stop(f"finds no folder of packages at {settings.PACKAGES_ROOT} (CONCORD_PACKAGES)")
    # the thread of the forward pass takes the interpreter after every operation; at Python's usual 5 ms it would wait
    # longer for those that store results than it computes
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.INFERENCE_THREADS:
        torch.set_num_threads(settings.INFERENCE_THREADS)
    for version in FunctionVersion.objects.filter(state=FunctionVersion.State.IN_SERVICE):
        try:
            package_for(version).warm()
        except (PackageError, ValueError, RuntimeError) as error:  # of the device, too
            sys.stderr.write(f"concord: function {version} cannot be loaded: {error}\n")


def _stop(why: str) -> NoReturn:
    sys.stderr.write(f"concord: a gpu worker {why}\n")
    raise SystemExit(78)  # EX_CONFIG of sysexits.h
