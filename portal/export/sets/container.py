"""Files into one zip or tar.gz with a manifest of hashes; one file at a time, none of them whole in memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

MANIFEST = "manifest.json"
IN_MEMORY = 8 << 20
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # equal files make an equal container, whenever it is made
PACKED = (".png", ".gz")


def write(out: IO[bytes], kind: str, files: Iterable[tuple[str, Iterator[bytes]]], about: Mapping[str, Any]) -> str:
    """Write a "zip" or "tar" (gzip) to `out`: every file, then manifest.json with size and SHA-256 of each.

    Returns the content's hash: SHA-256 over the sorted lines `<sha256>  <name>`, as `sha256sum` writes them. It is
    the same for the same content, whatever the container and the day.
    Raises ValueError for a name that comes twice or leaves the container's folder.
    """
    told: dict[str, dict[str, Any]] = {}
    with _Zip(out) if kind == "zip" else _Tar(out) as box:
        for name, pieces in files:
            if name in told or name.startswith(("/", "..")) or "/../" in name:
                raise ValueError(f"a data set cannot hold {name!r}")
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
                digest = hashlib.sha256()
                for piece in pieces:
                    digest.update(piece)
                    spool.write(piece)
                size = spool.tell()
                spool.seek(0)
                box.add(name, spool, size)  # type: ignore[arg-type]
            told[name] = {"sha256": digest.hexdigest(), "bytes": size}
        content = content_hash({name: entry["sha256"] for name, entry in told.items()})
        manifest = {**about, "content_sha256": content, "files": told}
        data = json.dumps(manifest, default=str, indent=1, ensure_ascii=False).encode()
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
            spool.write(data)
            spool.seek(0)
            box.add(MANIFEST, spool, len(data))  # type: ignore[arg-type]
    return content


def content_hash(files: Mapping[str, str]) -> str:
    """SHA-256 over the lines `<sha256>  <name>` sorted by name."""
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


class _Zip:
    def __init__(self, out: IO[bytes]) -> None:
        self.file = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        entry = zipfile.ZipInfo(name, LONG_AGO)
        entry.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
        entry.file_size = size
        with self.file.open(entry, "w", force_zip64=size >= 1 << 31) as target:
            shutil.copyfileobj(source, target, 1 << 20)


class _Tar:
    def __init__(self, out: IO[bytes]) -> None:
        self.packed = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0, filename="")
        self.file = tarfile.open(fileobj=self.packed, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self.packed.close()

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = size
        self.file.addfile(entry, source)
