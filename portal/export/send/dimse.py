"""C-STORE to a PACS (PS3.4 Annex B), by the peers' own associations."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from portal.export.models import Destination
from portal.peers import client


def store(destination: Destination, objects: Sequence[Dataset]) -> str:
    """Send all objects in one association. Raises NotAnswered unless the peer has every one (success or warning)."""
    warned = client.send(destination.entity, objects)
    return f"{len(objects)} stored" + (", with warnings" if warned else "")


def echo(destination: Destination) -> str:
    """C-ECHO. Raises NotAnswered."""
    client.echo(destination.entity)
    return f"{destination.name} answers C-ECHO"
