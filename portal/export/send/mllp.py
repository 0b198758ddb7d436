"""HL7 v2 messages over MLLP (HL7 v2.5.1 chapter 2.9; MLLP release 1)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import hl7

from portal.export.models import Destination
from portal.peers.client import NotAnswered

BEGIN, END = b"\x0b", b"\x1c\r"
SECONDS, MOST = 30, 1 << 20


def send(destination: Destination, message: str, control_id: str) -> str:
    """Send one message and wait for its acknowledgement. Raises NotAnswered unless it is AA or CA for this message."""
    with _connected(destination) as line:
        line.sendall(BEGIN + message.encode() + END)
        answer = _read(line, destination)
    try:
        told = hl7.parse(answer)
        code, of = str(told.segment("MSA")[1]), str(told.segment("MSA")[2])
    except (hl7.HL7Exception, KeyError, IndexError, ValueError):
        raise NotAnswered(f"{destination.name} answered what is no acknowledgement") from None
    if of != control_id:
        raise NotAnswered(f"{destination.name} acknowledged another message")
    if code not in {"AA", "CA"}:
        raise NotAnswered(f"{destination.name} answered {code}")
    return code


def reach(destination: Destination) -> str:
    """Whether somebody listens; HL7 has no message that asks for nothing. Raises NotAnswered."""
    with _connected(destination):
        return f"{destination.name} takes a connection"


@contextmanager
def _connected(destination: Destination) -> Iterator[socket.socket]:
    try:
        with socket.create_connection((destination.host, destination.port or 2575), timeout=SECONDS) as plain:
            if not destination.tls:
                yield plain
                return
            with ssl.create_default_context().wrap_socket(plain, server_hostname=destination.host) as line:
                yield line
    except OSError as error:
        raise NotAnswered(f"{destination.name} does not answer ({type(error).__name__})") from None


def _read(line: socket.socket, destination: Destination) -> str:
    data = b""
    while not data.endswith(END):
        piece = line.recv(65536)
        data += piece
        if not piece or len(data) > MOST:
            raise NotAnswered(f"{destination.name} hung up before it acknowledged")
    return data.strip(b"\x0b\x1c\r").decode("utf-8", "replace")
