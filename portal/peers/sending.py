"""Objects on their way out by C-STORE: as they lie in the archive or were made, or decoded when the peer wants that."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.core import storage
from portal.peers.prompt import Outgoing

log = structlog.get_logger(__name__)
PLAIN = [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]
LOSSLESS = [str(JPEG2000Lossless), str(RLELossless)]  # that this house can write
WAITING_PDUS = 32  # read from the file ahead of the network


class CannotSend(ValueError):
    """The peer accepted no syntax in which this instance can be sent."""


class Stored(Dataset):
    """Stands for an instance of the archive where pynetdicom wants a data set; its bytes stay in their file."""

    name: str
    syntax: str
    originator: tuple[str, int] | None

    @classmethod
    def of(cls, row: Instance) -> Stored:
        found = cls()
        found.SOPClassUID, found.SOPInstanceUID = row.sop_class, row.sop_uid
        found.__dict__.update(name=row.name, syntax=row.transfer_syntax, originator=None)
        return found


def stream(association: Any) -> None:
    """Let `send_c_store` take `Stored` objects with bounded memory, and others as the peer wants them."""
    if getattr(association, "concord_streams", False):
        return
    plain_send = association.send_c_store
    if not isinstance(association.dul.to_provider_queue, Outgoing):
        association.dul.to_provider_queue = Outgoing()
    association.dul.to_provider_queue.maxsize = WAITING_PDUS  # the reader of the file waits for the network

    def send(dataset: Any, msg_id: int = 1, priority: int = 2, **originator: Any) -> Any:
        syntaxes = accepted(association, str(dataset.SOPClassUID))
        if not isinstance(dataset, Stored):
            return plain_send(fitted(dataset, syntaxes), msg_id, priority, **originator)
        caller, number = dataset.originator or (None, None)
        with local_copy(storage.archive(), dataset.name) as path:
            content = prepared(path, dataset, syntaxes)
            return plain_send(content, msg_id, priority, originator_aet=caller, originator_id=number)

    association.send_c_store = send
    association.concord_streams = True


def contexts(found: Sequence[Dataset]) -> list[PresentationContext]:
    """For each SOP class: the syntaxes as they are, one by one, and the plain ones; 128 at most (PS3.8 9.3.2)."""
    plain = {str(one.SOPClassUID): None for one in found}
    stored = {(str(one.SOPClassUID), _syntax(one)): None for one in found}
    wanted = [(uid, PLAIN) for uid in plain]
    wanted += [(uid, [syntax]) for uid, syntax in stored if syntax not in PLAIN]
    proposed = []
    for uid, syntaxes in wanted[:128] or [(str(Verification), PLAIN)]:
        context = PresentationContext()
        context.abstract_syntax = uid  # type: ignore[assignment]
        context.transfer_syntax = syntaxes  # type: ignore[assignment]
        proposed.append(context)
    return proposed


def _syntax(one: Dataset) -> str:
    return one.syntax if isinstance(one, Stored) else str(one.file_meta.TransferSyntaxUID)


def accepted(association: Any, sop_class: str) -> list[str]:
    """Transfer syntaxes in which the other side takes instances of a class."""
    return [
        str(context.transfer_syntax[0])
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class and context.as_scu
    ]


def prepared(path: Path, stored: Stored, syntaxes: list[str]) -> Path | Dataset:
    """The file itself when its syntax is accepted, else the decoded (or losslessly encoded) data set.

    Raises CannotSend; what decoders raise counts as a failed sub-operation too.
    """
    return path if stored.syntax in syntaxes else fitted(dcmread(path), syntaxes)


def fitted(dataset: Dataset, syntaxes: list[str]) -> Dataset:
    """The data set in a syntax that is accepted: its own, or decoded, in place. Raises CannotSend."""
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    if "PixelData" in dataset:  # an object that was never written to a file does not say so by itself
        dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    if syntax in syntaxes:
        return dataset
    target = next((one for one in [*PLAIN, *LOSSLESS] if one in syntaxes), None)
    if target is None:
        raise CannotSend(f"no accepted syntax for {syntax.name}")
    if syntax.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    elif syntax.is_deflated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    elif not syntax.is_little_endian:
        _turn(dataset)
    if target in LOSSLESS:
        dataset.compress(UID(target), generate_instance_uid=False)
    return dataset


def _turn(dataset: Dataset) -> None:
    """Big endian to little: pydicom turns all values but those of the pixel data (PS3.5 section 8.1.1)."""
    width = int(dataset.get("BitsAllocated", 8)) // 8
    if "PixelData" in dataset and width > 1:
        dataset.PixelData = np.frombuffer(dataset.PixelData, f">u{width}").astype(f"<u{width}").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.set_original_encoding(False, True, dataset.original_character_set)


def no_delay(event: Any) -> None:
    """Answer small messages at once: with Nagle's algorithm each instance waits 40 ms."""
    wire = event.assoc.dul.socket.socket
    if wire is not None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
