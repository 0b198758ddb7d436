"""Run the MLLP listener until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from portal.peers.messages.listener import Listener
from portal.peers.tls import NoTls, server_context
from portal.peers.wire import listening_socket


class Command(BaseCommand):
    help = "Receive reports by HL7 v2 over MLLP (identity zone)."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ZONE == "app":
            raise CommandError("the HL7 listener belongs to the identity zone (CONCORD_ZONE=identities)")
        ports = {settings.HL7_PORT: False, settings.HL7_TLS_PORT: True}
        ports.pop(0, None)
        if not ports:
            raise CommandError("CONCORD_HL7_PORT and CONCORD_HL7_TLS_PORT are not set")
        try:
            context = server_context() if settings.HL7_TLS_PORT else None
            sockets = [(listening_socket(settings.HOST, port), context if tls else None) for port, tls in ports.items()]
        except OSError as error:
            raise CommandError(f"a port of {', '.join(map(str, ports))} cannot be listened on: {error}") from error
        except NoTls as error:
            raise CommandError(f"no TLS for HL7: {error}") from error
        asyncio.run(_serve(sockets))


async def _serve(sockets: list[Any]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Listener().serve(sockets, stop)
