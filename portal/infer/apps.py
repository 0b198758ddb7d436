from typing import Any

from celery.signals import celeryd_init
from django.apps import AppConfig


def check_worker(options: Any = None, **_: Any) -> None:
    """Celery says here which queues a worker is about to serve, and with how many processes."""
    given = options or {}
    queues = given.get("queues") or ""
    names = queues.split(",") if isinstance(queues, str) else list(queues)
    if "gpu" in names:
        from portal.infer.serving import check_gpu_worker  # brings PyTorch

        pool = given.get("pool")  # its class by now, of the module celery.concurrency.<kind>
        kind = str(pool if isinstance(pool, str) else getattr(pool, "__module__", "prefork")).rsplit(".")[-1]
        check_gpu_worker(names, kind, given.get("concurrency"))


class InferConfig(AppConfig):
    name = "portal.infer"
    verbose_name = "Infer"

    def ready(self) -> None:
        from portal.archive.cohorts import queries
        from portal.infer.cohorts import offer

        celeryd_init.connect(check_worker)
        queries.offer(offer)
