"""The MLLP listener (HL7 v2 minimal lower layer protocol, release 1): bounded reads, one answer for each message."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections

from portal.peers.messages.actions import Caller, known, take
from portal.peers.messages.answers import BAD_CONTENT, Head, Reply, acknowledgement

log = structlog.get_logger(__name__)
BEGIN, END = b"\x0b", b"\x1c\r"
BETWEEN = b"\r\n\t "  # what some senders put between two messages
MESSAGE_SECONDS = 60  # for one message, from its first byte to its last
ANSWER_SECONDS = 30  # for a sender to take our answer
HANDSHAKE_SECONDS = 10
LINGER_SECONDS = 2  # for an answer to arrive before the connection closes
GRACE_SECONDS = 10  # for messages that are being stored when the listener ends
AT_ONCE = 4  # messages that are worked on at one time


class BadFrame(Exception):
    """What came is no MLLP block; nobody knows where the next one begins."""


class TooLong(Exception):
    """A block grew beyond the limit."""


async def read_block(reader: asyncio.StreamReader, idle: float, patience: float) -> bytes | None:
    """The next message; None when the sender has gone, also in the middle of one.

    idle      seconds of silence before it
    patience  seconds from its first byte to its last
    Raises TimeoutError, BadFrame, and TooLong beyond the reader's limit.
    """
    while (first := await asyncio.wait_for(reader.read(1), idle)) != BEGIN:
        if not first:
            return None
        if first not in BETWEEN:
            raise BadFrame
    try:
        block = await asyncio.wait_for(reader.readuntil(END), patience)
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise TooLong from None
    if BEGIN in block:
        raise BadFrame
    return block[: -len(END)]


class Listener:
    """One process: every connection in its own task, the work on messages in a few threads."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()  # connections by address
        self.tasks: set[asyncio.Task[None]] = set()
        self.busy = 0  # messages that are being answered
        self.ending = False
        self.threads = ThreadPoolExecutor(AT_ONCE, "hl7")

    async def serve(self, sockets: list[tuple[socket.socket, ssl.SSLContext | None]], stop: asyncio.Event) -> None:
        """Serve until `stop`; what is being stored then is stored and answered."""
        servers = []
        for listening, context in sockets:
            tls: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_SECONDS} if context else {}
            limit = settings.MAX_REPORT_BYTES
            servers.append(await asyncio.start_server(self._begin, sock=listening, limit=limit, **tls))
        await stop.wait()
        self.ending = True
        for server in servers:
            server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self.busy:
                    await asyncio.sleep(0.05)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.threads.shutdown(cancel_futures=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = _caller(writer)
        self.open[caller.address] += 1
        try:
            idle = await self._welcome(caller)
            if idle is not None:
                await self._converse(caller, reader, writer, idle)
        except (OSError, TimeoutError, BadFrame, ssl.SSLError) as error:
            log.info("hl7.ended", address=caller.address, why=type(error).__name__)
        finally:
            self.open[caller.address] -= 1
            if not self.open[caller.address]:
                del self.open[caller.address]
            writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), LINGER_SECONDS)

    async def _welcome(self, caller: Caller) -> float | None:
        """How long the connection may be silent, in seconds; None when it is not wanted."""
        try:
            rows = await self._in_thread(known, caller)
        except DatabaseError as error:
            log.error("hl7.database_away", error=type(error).__name__)
            return None
        here, all_open = self.open[caller.address], self.open.total()
        if not rows:
            why = "no active sender may call from there"
        elif all_open > settings.HL7_CONNECTIONS or here > sum(row.most_connections for row in rows):
            why = "too many connections"
        else:
            return float(max(row.idle_seconds for row in rows))
        log.warning("hl7.refused", address=caller.address, why=why)
        return None

    async def _converse(
        self, caller: Caller, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float
    ) -> None:
        while not self.ending:
            try:
                raw = await read_block(reader, idle, MESSAGE_SECONDS)
            except TooLong:
                words = f"The message is longer than {settings.MAX_REPORT_BYTES >> 20} MiB."
                await self._answer(writer, None, Reply("AR", words, BAD_CONTENT))
                log.warning("hl7.refused", address=caller.address, why="too long")
                with suppress(TimeoutError):  # what is unread when a socket closes would take our answer with it
                    async with asyncio.timeout(LINGER_SECONDS):
                        while await reader.read(65_536):
                            pass
                return
            if raw is None:
                return
            self.busy += 1
            try:
                await self._answer(writer, *await self._in_thread(take, caller, raw))
            finally:
                self.busy -= 1

    async def _answer(self, writer: asyncio.StreamWriter, head: Head | None, reply: Reply) -> None:
        answer = acknowledgement(head, reply)
        if answer is not None:
            writer.write(BEGIN + answer + END)
            await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, _with_database, function, *arguments)


def _with_database(function: Any, *arguments: Any) -> Any:
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        connections.close_all()


def _caller(writer: asyncio.StreamWriter) -> Caller:
    name = writer.get_extra_info("peername") or ("",)
    secured = writer.get_extra_info("ssl_object")
    shown = secured.getpeercert(binary_form=True) if secured else None
    return Caller(str(name[0]), secured is not None, hashlib.sha256(shown).hexdigest() if shown else "")
