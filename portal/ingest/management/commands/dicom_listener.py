"""Run the DICOM listener until SIGTERM."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from portal.ingest.dimse import listen


class Command(BaseCommand):
    help = "Receive scans by C-STORE (identity zone)."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ZONE == "app":
            raise CommandError("the DICOM listener belongs to the identity zone (CONCORD_ZONE=identities)")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            server = listen(settings.HOST, settings.DICOM_PORT)
        except OSError as error:
            raise CommandError(f"port {settings.DICOM_PORT} cannot be listened on: {error}") from error
        stop.wait()
        server.shutdown()
