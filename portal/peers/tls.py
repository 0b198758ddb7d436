"""TLS for DICOM (PS3.15 Annex B.12): our certificate, and the authority that signs our peers'."""

from __future__ import annotations

import ssl
from pathlib import Path

from django.conf import settings


class NoTls(Exception):
    """The settings name no certificate, or one that cannot be used."""


def server_context() -> ssl.SSLContext:
    """For the listener: our certificate; with an authority named, callers have to show one that it signed.

    Raises NoTls.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context)
    if settings.DICOM_TLS_CA:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(trusted: bool = False) -> ssl.SSLContext:
    """For our own associations: the peer's certificate has to be signed by the authority and name its host.

    trusted  where the house names no authority, those that this machine trusts will do
    Raises NoTls.
    """
    if trusted and not settings.DICOM_TLS_CA:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.DICOM_TLS_CA:
        raise NoTls("CONCORD_DICOM_TLS_CA names no authority to check the peer's certificate by")
    _load(context)
    return context


def _load(context: ssl.SSLContext) -> None:
    if not (settings.DICOM_TLS_CERT and settings.DICOM_TLS_KEY):
        raise NoTls("CONCORD_DICOM_TLS_CERT and CONCORD_DICOM_TLS_KEY are not set")
    try:
        context.load_cert_chain(Path(settings.DICOM_TLS_CERT), Path(settings.DICOM_TLS_KEY))
        if settings.DICOM_TLS_CA:
            context.load_verify_locations(Path(settings.DICOM_TLS_CA))
    except (OSError, ssl.SSLError) as error:
        raise NoTls(f"a certificate cannot be read: {error}") from error
