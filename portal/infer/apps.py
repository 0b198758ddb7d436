from typing import Any

from celery.signals import celeryd_init
from django.apps import AppConfig


def check_worker(options: Any = None, **_: Any) -> None:
    """Celery says here which queues a worker is about to serve, and with how many processes."""
    given = options or {}
    queues = given.get("queues") or ""
    names = queues.split(",") if isinstance(queues, str) else list(queues)
    if "gpu" in names:
        from portal.infer.packages import check_gpu_worker  # brings PyTorch

        check_gpu_worker(names, given.get("concurrency"))


class InferConfig(AppConfig):
    name = "portal.infer"
    verbose_name = "Infer"

    def ready(self) -> None:
        celeryd_init.connect(check_worker)
