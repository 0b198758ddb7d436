"""The MLLP listener on loopback: who may send, what is answered, what is stored before, what is not said."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hl7
import pytest
from django.db import OperationalError

from deploy.embedded.config import free_port
from portal.ingest import actions as ingest
from portal.ingest import landing
from portal.ingest.models import Receipt
from portal.peers import tls
from portal.peers.messages import actions, listener
from portal.peers.messages.actions import Caller, forget_taken
from portal.peers.messages.answers import Head
from portal.peers.models import MessageSender, TakenMessage
from portal.peers.wire import listening_socket
from tests.factories import archive as make
from tests.factories.documents import pdf
from tests.factories.reports import ACCESSION, TEXT, WORDS, embedded, message
from tests.factories.senders import BEGIN, END, code, say, send, sender
from tests.portal.test_peers_tls import Authority
from tests.support import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ris() -> MessageSender:
    return sender(make.organisation())


@pytest.fixture
def port(ris: MessageSender) -> Iterator[int]:
    number = free_port()
    with served(number):
        yield number


class served:
    """The listener in a thread of this process."""

    def __init__(self, number: int, context: Any = None) -> None:
        self.sockets = [(listening_socket("127.0.0.1", number), context)]
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await listener.Listener().serve(self.sockets, self.stop)

    def __enter__(self) -> served:
        self.thread.start()
        self.ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(30)
        assert not self.thread.is_alive()


def error_words(answer: hl7.Message) -> str:
    return str(answer.segment("MSA")[3])


def test_a_report_is_durable_before_it_is_acknowledged(port: int, ris: MessageSender) -> None:
    (answer,) = send(port, message())
    assert code(answer) == ("AA", "77")
    head = answer.segment("MSH")
    assert [str(head[n]) for n in (3, 5, 6, 9, 12)] == ["CONCORD", "RIS", "Qmarspital", "ACK^R01^ACK", "2.5.1"]
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.source) == ("received", ris.source)
    ris.refresh_from_db()
    assert ris.last_code == "AA" and ris.last_at is not None


def test_many_messages_over_one_connection_and_a_document(port: int) -> None:
    said = [message(accession=f"A{n}", control=f"C{n}") for n in range(20)] + [embedded(pdf(TEXT), "PDF")]
    assert [code(one) for one in send(port, *said)] == [("AA", f"C{n}") for n in range(20)] + [("AA", "78")]
    assert Receipt.objects.filter(state="received").count() == 21


def test_sent_again_it_is_acknowledged_and_not_taken_again(port: int) -> None:
    first, again = send(port, message(), message())
    assert code(first) == code(again) == ("AA", "77") and "before" in error_words(again)
    with ThreadPoolExecutor(4) as pool:  # over several connections at one moment
        answers = list(pool.map(lambda _: send(port, message(accession="A2", control="78"))[0], range(4)))
    assert {code(one) for one in answers} == {("AA", "78")}
    assert Receipt.objects.filter(state="received").count() == TakenMessage.objects.count() == 2
    # a counter that began anew: another message under the same number is another message
    assert code(send(port, message(accession="A3"))[0]) == ("AA", "77")
    assert Receipt.objects.filter(state="received").count() == 3


REFUSED = [
    (message().replace(b"ORU^R01^ORU_R01", b"ADT^A01"), "AR", "results"),
    (message().replace(b"|2.5.1|", b"|3.0|"), "AR", "version 2"),
    (message(text=""), "AE", "no text"),
    (message(patient=""), "AA", ""),
    (message(accession="A" * 17), "AE", "16"),
    (message().replace(b"|FT|", b"|RP|"), "AE", "lies elsewhere"),
    (message().replace(b"UNICODE UTF-8", b"EBCDIC"), "AE", "character set"),
    (b"PID|1||QX771209", "AR", "MSH"),
]


def test_what_cannot_be_taken_is_said_without_an_identity(port: int) -> None:
    for answer, (_, expected, words) in zip(send(port, *(raw for raw, *_ in REFUSED)), REFUSED, strict=True):
        assert code(answer)[0] == expected and words in error_words(answer), (answer, words)
        if expected != "AA":
            assert str(answer.segment("ERR")[4]) == "E" and words in str(answer.segment("ERR")[8])
        # what names the sender and its message comes back; nothing of the patient does
        assert not [word for word in set(WORDS) - {"Qmarspital"} if word in str(answer)]


def test_a_refused_message_is_seen_once_at_the_doors(port: int, ris: MessageSender) -> None:
    send(port, message(text=""), message(text=""))
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.reason) == ("quarantined", "bad_report") and "no text" in receipt.detail
    assert receipt.source == ris.source and not list(landing.incoming().iterdir())


def test_all_reports_of_a_message_or_none(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    two = message(more=f"OBR|2|A2|F-2|CT^CT|||20240229|||||||||||{'A' * 17}\rOBX|1|FT|X||Second||||||F")
    assert code(send(port, two)[0])[0] == "AE"
    assert not Receipt.objects.filter(state="received").exists()
    real, calls = ingest.receive, []

    def full_at_the_second(*args: Any, **kwargs: Any) -> Receipt:
        calls.append(1)
        if len(calls) % 2 == 0:
            return ingest.record_lost(args[0], kwargs["batch"], "no_room", 0)
        return real(*args, **kwargs)

    good = message(more="OBR|2|A2|F-2|CT^CT|||20240229|||||||||||A2\rOBX|1|FT|X||Second||||||F")
    monkeypatch.setattr(ingest, "receive", full_at_the_second)
    answer = send(port, good)[0]
    assert code(answer)[0] == "AR" and "again" in error_words(answer)
    assert not Receipt.objects.filter(state="received").exists() and not TakenMessage.objects.exists()
    monkeypatch.setattr(ingest, "receive", real)
    assert code(send(port, good)[0])[0] == "AA" and Receipt.objects.filter(state="received").count() == 2


def test_when_the_database_is_away_the_sender_keeps_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("Rosa Quillfeather could not be stored")

    monkeypatch.setattr(actions, "_store", away)
    answer = send(port, message())[0]
    assert code(answer) == ("AR", "77") and "Quillfeather" not in str(answer)
    monkeypatch.undo()
    assert code(send(port, message())[0]) == ("AA", "77")


def test_half_messages_garbage_and_too_much(port: int, settings: Any) -> None:
    whole = BEGIN + message() + END
    assert say(port, [whole[:200]], hang_up=True) == b""
    assert say(port, [b"GET / HTTP/1.1\r\n\r\n"]) == b""
    assert say(port, [BEGIN + b"MSH|^~\\&|RIS" + whole]) == b""  # a second beginning without an end
    assert say(port, [b"\x00\xff" * 1000]) == b""
    assert Receipt.objects.count() == 0
    heard = say(port, [b"\r\n" + whole, whole[:40], whole[40:]], hang_up=True)
    assert heard.count(b"MSA|AA|77") == 2 and Receipt.objects.count() == 1


def test_more_than_the_limit_is_refused_while_it_comes(ris: MessageSender, settings: Any) -> None:
    settings.MAX_REPORT_BYTES = 100_000
    number = free_port()
    with served(number):
        heard = say(number, [BEGIN + message(text="x" * 250_000)[:220_000]], hang_up=True)
        assert b"MSA|AR|" in heard and b"longer than" in heard
        assert code(send(number, message())[0])[0] == "AA"


def test_silent_senders_are_let_go(port: int, ris: MessageSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MESSAGE_SECONDS", 0.3)
    MessageSender.objects.update(idle_seconds=1)
    assert say(port, [BEGIN + b"MSH|^~"]) == b""  # in the middle of a message
    assert say(port, []) == b""  # before one
    assert code(send(port, message())[0])[0] == "AA"


def test_places_are_limited_and_come_back(port: int, ris: MessageSender) -> None:
    MessageSender.objects.update(most_connections=1)
    with socket.create_connection(("127.0.0.1", port)) as held:
        held.sendall(BEGIN + message() + END)
        held.settimeout(20)
        assert held.recv(10_000)
        assert say(port, []) == b""
    wait_for(lambda: b"AA" in say(port, [BEGIN + message() + END], hang_up=True), 20, "the place is free again")


def test_who_is_not_entered_is_not_listened_to(port: int, ris: MessageSender) -> None:
    MessageSender.objects.update(addresses=["10.0.0.0/8"])
    assert say(port, [BEGIN + message() + END], hang_up=True) == b""
    MessageSender.objects.update(addresses=["127.0.0.0/8"], active=False)
    assert say(port, [BEGIN + message() + END], hang_up=True) == b""
    MessageSender.objects.update(active=True, application="PACS")
    assert code(send(port, message())[0]) == ("AR", "77")
    assert Receipt.objects.count() == 0
    MessageSender.objects.update(application="ris", facility="QMARSPITAL")
    assert code(send(port, message())[0]) == ("AA", "77")


def test_the_most_exact_sender_is_the_one_and_two_alike_are_none(ris: MessageSender) -> None:
    head = Head.of(message())
    assert head is not None
    here = Caller("127.0.0.1")
    assert actions.admit(here, head) == ris
    other = sender(make.organisation("harbour"), "Other", facility="Qmarspital")
    assert actions.admit(here, head) == other
    sender(make.organisation("harbour"), "Third", application="RIS")
    assert actions.admit(here, head) is None
    assert actions.admit(Caller("10.1.1.1"), head) is None


def test_over_tls_by_certificate(ris: MessageSender, tmp_path: Path, settings: Any) -> None:
    house = Authority(tmp_path, "house")
    key, certificate, _ = house.issue("concord")
    their_key, their_certificate, fingerprint = house.issue("ris")
    settings.DICOM_TLS_CERT, settings.DICOM_TLS_KEY, settings.DICOM_TLS_CA = certificate, key, house.path
    MessageSender.objects.update(addresses=[], tls=True, certificate=fingerprint)

    def over_tls(number: int, *own: Path) -> bytes:
        context = ssl.create_default_context(cafile=house.path)
        if own:
            context.load_cert_chain(*own)
        with socket.create_connection(("127.0.0.1", number)) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
                    line.sendall(BEGIN + message() + END)
                    return line.recv(10_000)
            except (ssl.SSLError, ConnectionError):
                return b""

    number, plain = free_port(), free_port()
    with served(number, tls.server_context()), served(plain):
        assert b"MSA|AA|77" in over_tls(number, their_certificate, their_key)
        assert over_tls(number) == b""
        stranger_key, stranger, _ = house.issue("stranger")
        assert over_tls(number, stranger, stranger_key) == b""
        assert say(plain, [BEGIN + message() + END], hang_up=True) == b""


def test_nothing_of_a_message_is_logged(port: int, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    send(port, message(), message(text=""), message(accession="A" * 17))
    say(port, [BEGIN + message()[:300]], hang_up=True)
    told = capfd.readouterr()
    assert not [word for word in WORDS if word in told.out + told.err + caplog.text]


def test_what_was_taken_long_ago_is_forgotten_and_still_no_second_report(port: int) -> None:
    send(port, message())
    TakenMessage.objects.update(at="2020-01-01T00:00:00Z")
    assert forget_taken() == 1
    assert code(send(port, message())[0]) == ("AA", "77")
    assert sorted(Receipt.objects.values_list("state", flat=True)) == ["duplicate", "received"]
    assert ACCESSION not in str(list(TakenMessage.objects.values()))
