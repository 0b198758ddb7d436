"""Pure rules of de-identification: keyed pseudonyms, shifted dates, capped ages."""

from __future__ import annotations

import base64
import hmac
import re
from datetime import date, timedelta

AGE_CAP = 89  # years; above it age alone can identify (45 CFR 164.514(b)(2)(i)(C))
MAX_SHIFT_DAYS = 3650
DICOM_ROOT = "1.2.840.10008."

_AGE = re.compile(r"(\d{3})([DWMY])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?(\.\d{1,6})?)?")
_ZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_DATETIME = re.compile(r"(\d{4}(?:\d{2}(?:\d{2})?)?)(\d*(?:\.\d{1,6})?)([+-]\d{4})?")


def derive(key: bytes, purpose: str) -> bytes:
    """Return a 32-byte key for one purpose, so that no two uses of the vault key can meet."""
    return hmac.digest(key, f"concord/vault/{purpose}".encode(), "sha256")


def _mac(key: bytes, *parts: object) -> bytes:
    # lengths first: ("ab", "c") and ("a", "bc") must differ
    return hmac.digest(key, b"".join(b"%d:%s" % (len(t := str(p).encode()), t) for p in parts), "sha256")


def pseudonym(key: bytes, organisation: int, kind: str, value: str, letter: str = "P") -> str:
    """Return a letter and 13 characters of base 32 (65 bits), the same for the same value; fits SH."""
    digest = base64.b32encode(_mac(key, organisation, kind, value)).decode()
    return letter + digest[:13]


def pseudo_uid(key: bytes, organisation: int, uid: str) -> str:
    """Return a UID under 2.25 (PS3.5 section B.2) of at most 44 characters, the same for the same UID."""
    number = int.from_bytes(_mac(key, organisation, "uid", uid)[:16], "big")
    return f"2.25.{number}"


def keeps_uid(uid: str) -> bool:
    """Whether a UID is DICOM's own (a class, a syntax, a well-known frame) and tells nothing of anyone."""
    return uid.startswith(DICOM_ROOT)


def offset_days(key: bytes, organisation: int, patient: str) -> int:
    """Return this patient's one date offset: −3650 … −1 days, so that no date lies in the future."""
    number = int.from_bytes(_mac(key, organisation, "offset", patient)[:8], "big")
    return -1 - number % MAX_SHIFT_DAYS


def parse_date(text: str) -> date | None:
    """Return the day of a DA value (YYYYMMDD, or YYYY.MM.DD of before 1993), None when it is none."""
    digits = text.strip().replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text.strip()) else text.strip()
    if not re.fullmatch(r"\d{8}", digits):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def shift_date(text: str, days: int) -> str:
    """Return the DA value moved by `days`; "" for a malformed one or one moved out of the calendar."""
    day = parse_date(text)
    if day is None:
        return ""
    try:
        return (day + timedelta(days=days)).strftime("%Y%m%d").rjust(8, "0")
    except OverflowError:
        return ""


def shift_datetime(text: str, days: int) -> str:
    """Return the DT value moved by `days`, time and zone kept.

    A value of year or year and month alone is taken at its first day and keeps its precision.
    """
    match = _DATETIME.fullmatch(text.strip())
    if match is None:
        return ""
    day, clock, zone = match.groups()
    if clock and (len(day) < 8 or not _TIME.fullmatch(clock)):
        return ""
    if zone and not _ZONE.fullmatch(zone):
        return ""
    moved = shift_date((day + "0101")[:8], days)
    return moved[: len(day)] + clock + (zone or "") if moved else ""


def clean_time(text: str) -> str:
    """Return a TM value as it is, "" when it is malformed; offsets are whole days, so times stay."""
    text = text.strip()
    return text if _TIME.fullmatch(text.replace(":", "")) else ""


def clean_zone(text: str) -> str:
    """Return an offset from UTC such as +0100, "" for anything else."""
    text = text.strip()
    return text if _ZONE.fullmatch(text) else ""


def cap_age(text: str) -> str:
    """Return an AS value with everything above 89 years as 089Y; "" when malformed."""
    match = _AGE.fullmatch(text.strip().upper())
    if match is None:
        return ""
    number, unit = int(match[1]), match[2]
    years = number / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[unit]
    return f"{AGE_CAP:03d}Y" if years > AGE_CAP else f"{number:03d}{unit}"


def age_between(birth: str, day: str) -> str:
    """Return the age as an AS value in whole years, capped; "" when either date is missing or absurd."""
    born, then = parse_date(birth), parse_date(day)
    if born is None or then is None or then < born or then.year - born.year > 130:
        return ""
    years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
    return f"{min(years, AGE_CAP):03d}Y"
