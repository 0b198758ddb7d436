"""Run the DICOM listener until SIGTERM: some processes that accept on the same sockets."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, connections

from portal.core import zone
from portal.peers.listener import Listener, sockets
from portal.peers.tls import NoTls

PAUSE = 0.5  # seconds before a process that ended is started again
LOOK = 0.2  # seconds between two looks at whether the parent lives


class Command(BaseCommand):
    help = "Receive and serve scans by DICOM (identity zone)."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ZONE == "app":
            raise CommandError("the DICOM listener belongs to the identity zone (CONCORD_ZONE=identities)")
        try:
            shared = sockets(settings.HOST, settings.DICOM_PORT, settings.DICOM_TLS_PORT)
        except OSError as error:
            raise CommandError(f"port {settings.DICOM_PORT} cannot be listened on: {error}") from error
        except NoTls as error:
            raise CommandError(f"no TLS for DICOM: {error}") from error
        connections.close_all()
        gc.freeze()  # what is loaded now is shared by the children
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        children = [_child(shared) for _ in range(settings.DICOM_PROCESSES)]
        while not stop.is_set():
            stop.wait(PAUSE)
            for place, pid in enumerate(children):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    sys.stderr.write(f"dicom_listener: process {pid} ended; starting it again\n")
                    children[place] = _child(shared)
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        for pid in children:
            os.waitpid(pid, 0)


def _child(shared: list[tuple[Any, Any]]) -> int:
    """Fork a process that serves until SIGTERM, or until this one is gone."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = Listener(shared)
    _publish_key(stop)
    while not stop.wait(LOOK) and os.getppid() == parent:
        pass
    server.shutdown()
    time.sleep(0.1)  # aborts are on their way
    os._exit(0)


def _publish_key(stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            zone.publish_key()
            return
        except DatabaseError:
            stop.wait(PAUSE)
        finally:
            connections.close_all()
