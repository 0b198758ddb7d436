from typing import Any

from celery.signals import celeryd_init
from django.apps import AppConfig


def check_worker(conf: Any = None, options: Any = None, **_: Any) -> None:
    """Celery says here which queues a worker is about to serve."""
    queues = str((options or {}).get("queues") or "")
    if "gpu" in queues.split(","):
        from portal.infer.packages import check_gpu_worker

        check_gpu_worker(int(conf.worker_concurrency or 0))


class InferConfig(AppConfig):
    name = "portal.infer"
    verbose_name = "Infer"

    def ready(self) -> None:
        celeryd_init.connect(check_worker)
