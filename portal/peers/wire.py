"""Connections of the listener: bounded reads with time limits, TLS shaken off the accepting thread, shared slots.

pynetdicom reads a PDU of whatever length it states, 4 KiB at a time and without a time limit (PS3.8 9.3.1 bounds
nothing but P-DATA); a caller that states 4 GiB, or stops in mid-PDU, would hold memory or a thread for ever.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import structlog
from pynetdicom import _config, dimse_messages
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from portal.ingest import landing
from portal.peers.prompt import Waker, prompt

log = structlog.get_logger(__name__)
MAX_PDU = 262_144  # P-DATA, as negotiated
MAX_READ = MAX_PDU + 1024  # and every other PDU: an A-ASSOCIATE-RQ of 128 contexts has some 100 KiB
PDU_SECONDS = 30  # for one PDU, from its first byte to its last
HANDSHAKE_SECONDS = 10
LINGER = 30  # for the network thread to see that the association is over


class Wire(AssociationSocket):
    """A socket whose reads end: by length, by time for one PDU, and by silence."""

    waker: Waker | None = None  # with one, `ready` waits

    @property
    def ready(self) -> bool:
        """Whether there are data; waits for them, or for something to send."""
        wire = self.socket
        if wire is None or not self._is_connected:
            return False
        if self.waker is None or not self.event_queue.empty():
            return super().ready
        if isinstance(wire, ssl.SSLSocket) and wire.pending():
            return True
        try:
            return self.waker.sleep(wire)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, or fewer when the caller has gone. Raises OSError beyond the limits."""
        if nr_bytes > MAX_READ:
            raise OSError(f"a PDU of {nr_bytes} bytes was announced")
        wire = self.socket
        assert wire is not None
        buffer = bytearray(nr_bytes)
        view, got, end = memoryview(buffer), 0, time.monotonic() + PDU_SECONDS
        wire.settimeout(PDU_SECONDS)
        while got < nr_bytes:
            read = wire.recv_into(view[got:])
            if not read:
                view.release()
                return buffer[:got]
            got += read
            if got < nr_bytes and time.monotonic() > end:
                raise TimeoutError("a PDU took too long")
        view.release()
        return buffer

    def send(self, bytestream: bytes) -> None:
        """Send all; a caller that does not take them in time has gone."""
        wire = self.socket
        try:
            assert wire is not None
            wire.settimeout(PDU_SECONDS)
            wire.sendall(bytestream)
        except Exception:
            self.event_queue.put("Evt17")  # transport connection closed


class Handler(RequestHandler):
    """Makes the association of a connection, with TLS when the server has a context for it."""

    def setup(self) -> None:
        wire = self.request
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _create_association(self) -> Any:
        association = super()._create_association()
        wire = Wire(association, client_socket=self.request)
        wire.waker = self.waker = Waker()
        association.dul.socket = wire
        association.dul.event_queue.get()  # the base class's socket announced the same connection
        prompt(association, wire.waker)
        self.association = association
        return association

    def handle(self) -> None:
        """Run the association, and tell when it is over, however it ended."""
        super().handle()
        self.association.join()
        self.association.dul.join(LINGER)
        self.waker.close()
        self.server.ended(self.association)  # type: ignore[attr-defined]


class Server(ThreadedAssociationServer):
    """Accepts on a socket that several processes may share; each connection begins in a thread of its own."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        ended: Callable[[Any], None],
        most_threads: int,
        **options: Any,
    ) -> None:
        self._listening, self._context, self.ended, self.most_threads = listening, context, ended, most_threads
        super().__init__(address=listening.getsockname()[:2], request_handler=Handler, **options)

    def server_bind(self) -> None:
        """Take the shared socket in place of one of our own."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._listening
        self._listening.setblocking(False)  # another process may be faster
        self.server_address = self._listening.getsockname()[:2]

    def server_activate(self) -> None:
        """It listens already."""

    def get_request(self) -> tuple[Any, Any]:
        """The next connection, before any handshake. Raises OSError when another process took it."""
        wire, address = self._listening.accept()
        wire.setblocking(True)
        return wire, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more thread; callers that never say who they are count too."""
        return threading.active_count() < self.most_threads

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands where no other caller waits for it, then go on as usual."""
        if self._context is not None:
            try:
                request.settimeout(HANDSHAKE_SECONDS)
                request = self._context.wrap_socket(request, server_side=True)
            except (OSError, ValueError) as error:
                log.warning("dimse.tls_failed", address=client_address[0], error=str(error)[:200])
                with suppress(OSError):
                    request.close()
                return
        super().process_request_thread(request, client_address)

    def server_close(self) -> None:
        """Leave the shared socket to whoever made it."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("dimse.connection_failed", address=client_address[0])


class Slots:
    """Places for associations, counted over all processes of a machine; the kernel frees those of a dead one.

    A place is a lock on a file: `take` returns something that gives it back, None when all are taken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def take(self, name: str, most: int) -> int | None:
        """A handle of one of `most` places of this name."""
        for number in range(most):
            handle = os.open(self.folder / f"{name}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except OSError:
                os.close(handle)
        return None

    @staticmethod
    def give(handle: int) -> None:
        """Free a place."""
        with suppress(OSError):
            os.close(handle)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


@lru_cache(maxsize=1)
def prepare_pynetdicom() -> None:
    """Set what pynetdicom keeps for a whole process: instances go to files and come from files, nothing is logged."""
    _config.STORE_RECV_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"
    # pynetdicom names no folder; on the landing store's own disk a rename is enough to keep the file
    dimse_messages.NamedTemporaryFile = partial(  # type: ignore[attr-defined,assignment]
        tempfile.NamedTemporaryFile, dir=landing.incoming()
    )
