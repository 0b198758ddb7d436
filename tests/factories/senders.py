"""Senders of HL7 messages: the library's own MLLP client, and one that says whatever it is told, byte by byte."""

from __future__ import annotations

import socket
from typing import Any

import hl7
from hl7.client import MLLPClient

from portal.accounts.models import Organisation
from portal.ingest.models import Source
from portal.peers.models import MessageSender

BEGIN, END = b"\x0b", b"\x1c\r"


def sender(organisation: Organisation, name: str = "RIS", **values: Any) -> MessageSender:
    """A sender at 127.0.0.1, and its way in."""
    privacy = values.pop("privacy", Source.Privacy.FULL)
    source = Source.objects.create(organisation=organisation, kind="report", name=name, privacy=privacy)
    fixed = {"name": name, "addresses": ["127.0.0.0/8"], "source": source}
    return MessageSender.objects.create(organisation=organisation, **{**fixed, **values})


def send(port: int, *messages: bytes) -> list[hl7.Message]:
    """Send messages over one connection by the library's client; its answers, parsed by the library."""
    with MLLPClient("127.0.0.1", port) as client:
        client.socket.settimeout(60)
        return [hl7.parse(client.send(BEGIN + one + END).strip(BEGIN + END).decode("latin-1")) for one in messages]


def code(answer: hl7.Message) -> tuple[str, str]:
    """MSA-1 and MSA-2."""
    return str(answer.segment("MSA")[1]), str(answer.segment("MSA")[2])


def say(port: int, pieces: list[bytes], seconds: float = 20, hang_up: bool = False) -> bytes:
    """Send bytes as they are and read until the other side closes; hang_up: say that no more will come."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.settimeout(seconds)
        try:
            for piece in pieces:
                line.sendall(piece)
            if hang_up:
                line.shutdown(socket.SHUT_WR)
            while data := line.recv(65536):
                heard += data
        except ConnectionError:
            pass
    return heard
