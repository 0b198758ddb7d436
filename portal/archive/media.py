"""What a DICOMweb client accepts (PS3.18 8.7.4, 8.7.7). Pure functions."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from django.http import HttpRequest
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

OCTETS, DICOM, MULTIPART = "application/octet-stream", "application/dicom", "multipart/related"
NATIVE = {
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
}  # fmt: skip
# Media types under which compressed frames may be asked for (PS3.18 table 8.7.3-5).
IMAGE_TYPES: dict[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
KNOWN_SYNTAXES = frozenset(str(uid) for uid in AllTransferSyntaxes)
# What stored instances are changed into where a client asks for it; the encoders are those of pydicom's plugins.
TARGETS = frozenset(map(str, (ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless)))
# The syntax that an image type means without naming one (PS3.18 table 8.7.3-5), among those.
IMAGE_TARGETS = {
    "image/jls": str(JPEGLSLossless), "image/jp2": str(JPEG2000Lossless), "image/dicom-rle": str(RLELossless),
}  # fmt: skip


@dataclass(frozen=True)
class Range:
    """One media range of an Accept header."""

    media: str
    multipart: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def syntax(self) -> str:
        """The transfer syntax asked for: a UID, `*`, or empty."""
        return self.parameters.get("transfer-syntax", "")


@functools.lru_cache(256)
def parse_accept(header: str) -> list[Range]:
    """Media ranges, most wanted first; `multipart/related; type="x"` becomes x with multipart set.

    An empty header accepts everything. Ranges that make no sense are left out.
    """
    found = [one for text in _split(header or "*/*", ",") if (one := _range(text))]
    return sorted(found, key=lambda one: -one.quality)


def accepted(request: HttpRequest) -> list[Range]:
    """What a request accepts: its query parameter `accept` (PS3.18 8.3.3.1), else the header."""
    # a plus sign that was not escaped has become a space
    given = request.GET.get("accept", "").replace("dicom json", "dicom+json").replace("dicom xml", "dicom+xml")
    return parse_accept(given or request.headers.get("Accept", ""))


def _range(text: str) -> Range | None:
    media, *rest = _split(text, ";")
    parameters: dict[str, str] = {}
    for pair in rest:
        name, _, value = pair.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    media = media.strip().lower()
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 1.0
    if "/" not in media or not quality > 0:  # not a number counts as none
        return None
    if media == MULTIPART:
        return Range(parameters.pop("type", "*/*").lower(), True, parameters, quality)
    return Range(media, False, parameters, quality)


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark that does not stand inside quotes."""
    parts, quoted, start = [], False, 0
    for at, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == mark and not quoted:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


@dataclass(frozen=True)
class Offer:
    """What is answered: the media type of each part, its transfer syntax, and whether pixels are decoded."""

    media: str
    syntax: str
    decode: bool
    multipart: bool = True

    @property
    def part_type(self) -> str:
        """The part's Content-Type, in the form that clients look for."""
        return f"{self.media}; transfer-syntax={self.syntax}"


def frame_offer(accept: list[Range], stored: str) -> Offer | None:
    """How frames of an instance stored in `stored` are sent; None: nothing accepted can be made.

    Octets without a transfer syntax mean Explicit VR Little Endian (PS3.18 8.7.3.5.2): compressed frames are
    decoded then. `*` and the stored syntax pass the stored bytes through. All native encodings are sent as
    Explicit VR Little Endian, whose frames are the same bytes.
    """
    native = stored in NATIVE
    plain = str(ExplicitVRLittleEndian)
    sent = plain if native else stored
    for one in accept:
        if one.media == "*/*" and one.syntax in {"", "*", sent}:
            return Offer(OCTETS, sent, False)
        if one.media == OCTETS:
            if one.syntax in {"*", sent} or (native and one.syntax in {"", *NATIVE}):
                return Offer(OCTETS, sent, False, one.multipart)
            if (one.syntax or plain) in TARGETS:
                return Offer(OCTETS, one.syntax or plain, True, one.multipart)
        if not native and one.media == IMAGE_TYPES.get(stored) and one.syntax in {"", "*", stored}:
            return Offer(one.media, stored, False, one.multipart)
        if one.media in IMAGE_TARGETS and one.syntax in {"", "*", IMAGE_TARGETS[one.media]}:
            return Offer(one.media, IMAGE_TARGETS[one.media], True, one.multipart)
    return None


def instance_offer(accept: list[Range], stored: str) -> Offer | None:
    """How whole instances are sent: as stored where accepted, else changed into a syntax that is asked for."""
    plain = str(ExplicitVRLittleEndian)
    for one in accept:
        if one.media not in {"*/*", "application/*", DICOM}:
            continue
        multipart = one.multipart or one.media != DICOM
        if one.syntax in {"*", stored} or (one.media != DICOM and not one.syntax):
            return Offer(DICOM, stored, False, multipart)
        if (one.syntax or plain) in TARGETS:
            return Offer(DICOM, one.syntax or plain, stored != (one.syntax or plain), multipart)
    return None


PICTURES = ("image/jpeg", "image/png", "image/gif")


def picture_type(accept: list[Range]) -> str | None:
    """The kind of picture that is wanted first."""
    for one in accept:
        if one.media in {"*/*", "image/*"}:
            return PICTURES[0]
        if one.media in PICTURES:
            return one.media
    return None


def wants_json(accept: list[Range]) -> bool:
    """Whether DICOM JSON answers the request."""
    return any(one.media in {"*/*", "application/*", "application/json", "application/dicom+json"} for one in accept)
