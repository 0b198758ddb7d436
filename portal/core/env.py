"""Typed, loud settings from the environment: a bad value stops the start with one clear line."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlparse


def stop(name: str, why: str) -> NoReturn:
    """End the process with one line that names the setting and what is wrong with it."""
    sys.stderr.write(f"concord: setting {name}: {why}\n")
    raise SystemExit(78)  # EX_CONFIG of sysexits.h


def text(name: str, default: str | None = None) -> str:
    """Return a non-empty string; stop when it is missing and there is no default."""
    value = os.environ.get(name, "")
    if value:
        return value
    if default is None:
        stop(name, "is not set; `make demo` sets it, or see docs/administrator/settings.md")
    return default


def number(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between low and high, both included."""
    raw = os.environ.get(name, "")
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        stop(name, f"{raw!r} is not a whole number")
    if not low <= value <= high:
        stop(name, f"{value} is not between {low} and {high}")
    return value


def secrets(name: str) -> tuple[str, ...]:
    """Comma-separated secrets of 32 characters or more each, perhaps none; what is wrong is said without them."""
    found = tuple(part.strip() for part in os.environ.get(name, "").split(",") if part.strip())
    if any(len(part) < 32 for part in found):
        stop(name, "has a secret shorter than 32 characters")
    return found


def flag(name: str, default: bool = False) -> bool:
    """Return a yes/no value written as 1/0, true/false, yes/no or on/off."""
    raw = os.environ.get(name, "").lower()
    if not raw:
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    stop(name, f"{raw!r} is neither yes nor no")


def one_of(name: str, choices: tuple[str, ...], default: str) -> str:
    """Return one of the given words."""
    value = os.environ.get(name, "") or default
    if value not in choices:
        stop(name, f"{value!r} is not one of {', '.join(choices)}")
    return value


def device(name: str, default: str) -> str:
    """Return auto, cpu, cuda or one numbered device such as cuda:1."""
    value = os.environ.get(name, "") or default
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        stop(name, f"{value!r} is not one of auto, cpu, cuda, cuda:0, cuda:1 …")
    return value


def folder(name: str, default: Path) -> Path:
    """Return an absolute folder path; stop when something else lies there."""
    path = Path(os.environ.get(name, "") or default).expanduser().resolve()
    if path.exists() and not path.is_dir():
        stop(name, f"{path} is not a folder")
    return path


def file(name: str) -> str:
    """Return the path of a file that is there, empty when none is named."""
    raw = os.environ.get(name, "")
    if raw and not Path(raw).is_file():
        stop(name, f"{raw} is not a file")
    return raw


def database(name: str) -> dict[str, object]:
    """Return a Django database entry from postgresql://user:password@host:port/name?options."""
    raw = text(name)
    url = urlparse(raw)
    if url.scheme not in {"postgres", "postgresql"}:
        stop(name, "must start with postgresql:// (PostgreSQL is the one database)")
    try:
        port = url.port
    except ValueError:
        stop(name, "has a port that is not a number")
    if not url.path.lstrip("/"):
        stop(name, "names no database")
    # %2Frun%2Fpostgresql names a socket folder; url.hostname would lower its letters
    host = unquote(url.netloc.rpartition("@")[2])
    if not host.startswith("/"):
        host = url.hostname or ""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": host,
        "PORT": str(port or ""),
    }


def broker(name: str) -> str:
    """Return a Valkey/Redis or RabbitMQ address."""
    raw = text(name)
    if urlparse(raw).scheme not in {"redis", "rediss", "amqp", "amqps"}:
        stop(name, "must start with redis://, rediss://, amqp:// or amqps://")
    return raw


def storage(name: str, default: Path) -> dict[str, object]:
    """Return a Django storage entry from file:///folder or s3://bucket/prefix?endpoint=…"""
    raw = os.environ.get(name, "") or default.as_uri()
    url = urlparse(raw)
    if url.scheme == "file":
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": unquote(url.path)},
        }
    if url.scheme == "s3":
        return {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {"bucket_name": url.netloc, "location": url.path.lstrip("/"), "file_overwrite": False},
        }
    stop(name, "must start with file:// or s3://")
