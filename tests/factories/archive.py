"""Scans as de-identification hands them over, and people of two organisations."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

from portal.accounts.authentication import digest
from portal.accounts.models import ApiToken, Membership, Organisation, User
from portal.archive.actions import settle_study, store_receipt
from portal.archive.models import Study
from portal.core import storage
from portal.ingest.models import Receipt, Source

CLASSES = {
    "CT": CTImageStorage,
    "MG": DigitalMammographyXRayImageStorageForPresentation,
    "DX": DigitalXRayImageStorageForPresentation,
}


@pytest.fixture(autouse=True)
def plain_static(settings: Any) -> None:
    """Pages without collected static files; import it to use it."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def organisation(slug: str = "lakeside") -> Organisation:
    return Organisation.objects.get_or_create(slug=slug, defaults={"name": slug.title()})[0]


def user(name: str, org: Organisation, *roles: str) -> User:
    """A member with roles; the password is the name thrice."""
    person, new = User.objects.get_or_create(username=name)
    if new:
        person.set_password(name * 3)
        person.save()
    Membership.objects.update_or_create(user=person, organisation=org, defaults={"roles": list(roles)})
    return person


def token(person: User, org: Organisation) -> str:
    value = secrets.token_urlsafe(32)
    ApiToken.objects.create(user=person, organisation=org, name="test", digest=digest(value), prefix=value[:8])
    return value


def image(modality: str = "CT", *, study: str = "", series: str = "", seed: int = 0, **values: Any) -> Dataset:
    """A small uncompressed image without an identity; `values` are set by keyword, None takes one away."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CLASSES[modality]
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = study or generate_uid()
    ds.SeriesInstanceUID = series or generate_uid()
    ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientAge = "P-0001", "P-0001", "F", "061Y"
    ds.Modality, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = modality, "20240229", "101500", "A-77"
    ds.StudyDescription, ds.SeriesNumber, ds.InstanceNumber = "Screening", 1, 1
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 40, 32, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in values.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if "PixelData" not in ds:
        frames = int(ds.get("NumberOfFrames", 1))
        pixels = np.random.default_rng(seed).integers(0, 4096, (frames, ds.Rows, ds.Columns), dtype=np.uint16)
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
    return ds


def encoded(ds: Dataset) -> bytes:
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def staged(content: bytes, org: Organisation) -> Receipt:
    """A receipt whose clean file waits for the archive."""
    source, _ = Source.objects.get_or_create(organisation=org, kind=Source.Kind.DIMSE, name="CT 1")
    receipt = Receipt.objects.create(
        organisation=org,
        source=source,
        state=Receipt.State.DEIDENTIFIED,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
    )
    path = Path(storage.archive().path(storage.staged_name(receipt.pk)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return receipt


def stored(content: bytes | Dataset, org: Organisation) -> Receipt:
    """A receipt that the archive has taken."""
    receipt = store_receipt(staged(content if isinstance(content, bytes) else encoded(content), org).pk)
    assert receipt.state == Receipt.State.ARCHIVED, (receipt.reason, receipt.detail)
    return receipt


def settled(images: Iterable[bytes | Dataset], org: Organisation) -> Study:
    """A complete study."""
    receipts = [stored(one, org) for one in images]
    study = Study.objects.get(organisation=org, study_uid=receipts[0].study_uid)
    assert settle_study(study.pk)
    study.refresh_from_db()
    return study


def case_of_four(seed: int = 0, **values: Any) -> list[Dataset]:
    """The four standard views of a mammography case."""
    study, series = generate_uid(), generate_uid()
    views = [("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")]
    return [
        image("MG", study=study, series=series, seed=seed + n, ImageLaterality=side, ViewPosition=view,
              InstanceNumber=n + 1, BodyPartExamined="BREAST", **values)
        for n, (side, view) in enumerate(views)
    ]  # fmt: skip
