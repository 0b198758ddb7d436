"""C-STORE to a PACS (PS3.4 Annex B)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from portal.export.models import Destination
from portal.export.send import NotSent

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def store(destination: Destination, objects: Sequence[Dataset]) -> str:
    """Send all objects in one association. Raises NotSent unless the peer has every one (success or warning).

    A compressed object goes out uncompressed to a peer that takes its class, but not its transfer syntax.
    """
    ae = AE(ae_title="CONCORD")
    kinds = sorted({(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in objects})
    for sop_class, syntax in kinds:
        ae.add_requested_context(sop_class, syntax)
    for sop_class in sorted({sop_class for sop_class, syntax in kinds if syntax not in PLAIN}):
        ae.add_requested_context(sop_class, PLAIN)
    association = _associate(ae, destination)
    try:
        warnings = [_one(association, destination, ds) for ds in objects]
    finally:
        association.release()
    return f"{len(objects)} stored" + (", with warnings" if any(warnings) else "")


def echo(destination: Destination) -> str:
    """C-ECHO. Raises NotSent."""
    ae = AE(ae_title="CONCORD")
    ae.add_requested_context(Verification)
    association = _associate(ae, destination)
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if getattr(status, "Status", None) != 0x0000:
        raise NotSent(f"{destination.ae_title} does not answer C-ECHO with success")
    return f"{destination.ae_title} answers C-ECHO"


def _associate(ae: AE, destination: Destination) -> Association:
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = 20, 60, 60  # a busy PACS may take its time
    ae.connection_timeout = 10
    how: dict[str, Any] = {"ae_title": destination.ae_title}
    if destination.tls:
        how["tls_args"] = (ssl.create_default_context(), destination.host)
    association = ae.associate(destination.host, destination.port or 104, **how)
    if not association.is_established:
        raise NotSent(f"{destination.ae_title} {'refuses us' if association.is_rejected else 'does not answer'}")
    return association


def _one(association: Association, destination: Destination, ds: Dataset) -> bool:
    """Send one object; returns whether the peer warned."""
    taken = [c for c in association.accepted_contexts if c.abstract_syntax == ds.SOPClassUID]
    syntaxes = {str(c.transfer_syntax[0]) for c in taken}
    if not syntaxes:
        raise NotSent(f"{destination.ae_title} does not take {ds.SOPClassUID.name}")
    own = str(ds.file_meta.TransferSyntaxUID)
    if own not in syntaxes and own not in PLAIN:
        ds.decompress(generate_instance_uid=False)  # it stays the same object
    if "PixelData" in ds:  # an object that was never written to a file does not say so by itself
        ds["PixelData"].is_undefined_length = ds.file_meta.TransferSyntaxUID.is_encapsulated
    try:
        status = association.send_c_store(ds)
    except ValueError:
        raise NotSent(f"{destination.ae_title} does not take {ds.SOPClassUID.name} as it is") from None
    code = getattr(status, "Status", None)
    if code is None:
        raise NotSent(f"{destination.ae_title} gives no answer")
    if code != 0x0000 and code >> 12 != 0xB:
        raise NotSent(f"{destination.ae_title} answered {code:#06x}")
    return code != 0x0000
