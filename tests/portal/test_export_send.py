"""Compressed objects to peers that take their transfer syntax, and to those that take only uncompressed ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from deploy.embedded.config import free_port
from inference.explain import MapSet
from inference.explain.export import objects_of
from inference.phantoms import chest
from portal.export.models import Destination
from portal.export.send import dimse
from portal.peers.client import NotAnswered
from tests.factories.returns import pacs


@pytest.mark.parametrize(("options", "syntax"), [(("+xr",), RLELossless), ((), None)])
def test_compressed_objects_arrive_as_the_peer_takes_them(
    tmp_path: Path, options: tuple[str, ...], syntax: str | None
) -> None:
    [path] = chest(7, classes=("Nodule",), size=(320, 320)).write(tmp_path / "in")
    matrix = np.random.default_rng(1).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    one = {"Nodule": 0.5}
    maps = MapSet(uid, "f", "1", "0" * 64, "c", ("Nodule",), matrix, one, {"Nodule": True}, one)
    made = [ds for kind in ("seg", "sc") for _, ds in objects_of(maps, path, kind, datetime(2026, 1, 2))]
    assert {ds.file_meta.TransferSyntaxUID for ds in made} == {RLELossless}
    wanted = {str(ds.SOPInstanceUID): ds.pixel_array.copy() for ds in made}
    with pacs(tmp_path / "pacs", None, *options) as peer:
        where = Destination(kind="dimse", name="P", ae_title="PACS", host="127.0.0.1", port=peer.port)
        assert dimse.echo(where) == "P answers C-ECHO"
        assert dimse.store(where, made).startswith("2 stored")
        got = {str(ds.SOPInstanceUID): ds for ds in peer.objects()}
    assert set(got) == set(wanted)
    for key, ds in got.items():
        assert np.array_equal(ds.pixel_array, wanted[key])
        if syntax:
            assert ds.file_meta.TransferSyntaxUID == syntax
        else:
            assert not ds.file_meta.TransferSyntaxUID.is_encapsulated
    with pytest.raises(NotAnswered, match="does not answer"):
        dimse.store(Destination(kind="dimse", name="P", ae_title="PACS", host="127.0.0.1", port=free_port()), made)
