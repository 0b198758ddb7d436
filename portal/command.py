"""`concord`: what can be done from a shell without the portal.

concord deidentify FOLDER OUT [--key FILE] [--keep-uids] [--rules SCRIPT] [--no-pixels]
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

DONE, SET_ASIDE, USAGE, NOTHING, BROKEN = 0, 1, 2, 3, 4
LEAST_KEY = 32  # characters
SHOWN_EVERY_S = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="concord", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    clean = commands.add_parser(
        "deidentify",
        help="write a copy of a folder of DICOM files without identities",
        description="Writes OUT/patient/study/series/instance.dcm under pseudonyms and OUT/deidentification.jsonl, "
        "which says what "
        "was done where, without values. A run that was broken off goes on where it stopped. Exit codes: 0 all "
        "files clean, "
        "1 some set aside, 2 wrong use, 3 no file found, 4 the disk failed, 130 broken off.",
    )
    clean.add_argument("folder", type=Path)
    clean.add_argument("out", type=Path)
    clean.add_argument("--key", type=Path, default=Path("concord.key"), help="file of the key; made when missing")
    clean.add_argument("--keep-uids", action="store_true", help="Retain UIDs option of PS3.15")
    clean.add_argument("--rules", type=Path, help="script of CTP's DICOM Anonymizer, where it is not weaker")
    clean.add_argument("--no-pixels", action="store_true", help="do not look for text in pictures")
    options = parser.parse_args(arguments)
    return deidentify(options.folder, options.out, options.key, options.keep_uids, options.rules, not options.no_pixels)


def deidentify(
    folder: Path, out: Path, key: Path, keep_uids: bool = False, script: Path | None = None, pixels: bool = True
) -> int:
    """De-identify a folder; messages go to standard error, the last line to standard output."""
    from django.conf import settings

    if not settings.configured:  # the reader's limits; nothing else of the portal is needed
        settings.configure(MAX_INSTANCE_BYTES=4096 * 1024 * 1024, MAX_ZIP_RATIO=200)
    from portal.deidentify import ctp
    from portal.deidentify.folder import Job, run
    from portal.deidentify.table import Options, rows

    if not folder.is_dir():
        return _wrong(f"{folder} is no folder")
    folder, out = folder.resolve(), out.resolve()
    if out == folder or folder in out.parents or out in folder.parents:
        return _wrong("OUT must not lie in FOLDER nor FOLDER in OUT")
    try:
        out.mkdir(parents=True, exist_ok=True)
        table = rows(Options(uids=keep_uids))
        site = ctp.read(script.read_text(encoding="utf-8"), table) if script else ctp.Script()
        secret = secret_of(key)
    except (OSError, ValueError) as error:
        return _wrong(str(error))
    for note in site.notes:
        print(f"rules: {note}", file=sys.stderr)
    shown = _Progress()
    try:
        result = run(Job(folder, out, secret, Options(uids=keep_uids), site.rows, pixels), shown)
    except KeyboardInterrupt:
        print("\nbroken off; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"\nthe disk failed: {error.strerror}; the same command goes on from here", file=sys.stderr)
        return BROKEN
    for path, reason in result.aside:
        print(f"set aside ({reason}): {path}", file=sys.stderr)
    if not pixels:
        print("Texts inside pictures were not looked for.", file=sys.stderr)
    if result.written:
        print(f"Text in the pictures of {result.written} files was covered.", file=sys.stderr)
    if result.faces:
        print(f"The face was replaced in the series of {result.faces} files.", file=sys.stderr)
    if result.heads:
        print(f"Faces could not be looked for in {result.heads} files of heads; see the journal.", file=sys.stderr)
    print(f"{result.done} clean, {result.before} clean before, {len(result.aside)} set aside, of {result.total} files")
    if not result.total:
        return NOTHING
    return SET_ASIDE if result.aside else DONE


def secret_of(path: Path) -> bytes:
    """The key: CONCORD_VAULT_KEY, or the file's; a file that is missing is made for its owner alone.

    Raises ValueError for a key of fewer than 32 characters.
    """
    if given := os.environ.get("CONCORD_VAULT_KEY"):
        text = given
    elif path.exists():
        text = path.read_text(encoding="ascii").strip()
    else:
        text = secrets.token_urlsafe(48)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
        print(
            f"A new key was written to {path}. Keep it: the same key gives the same pseudonyms and dates, and who "
            f"has it can "
            "test whether a known patient is among the clean files. Do not give it away with them.",
            file=sys.stderr,
        )
    if len(text) < LEAST_KEY:
        raise ValueError(f"the key has fewer than {LEAST_KEY} characters")
    return text.encode()


def _wrong(message: str) -> int:
    print(f"concord deidentify: {message}", file=sys.stderr)
    return USAGE


class _Progress:
    """One line that is written over on a terminal, one line a minute elsewhere."""

    def __init__(self) -> None:
        self.begun, self.last, self.step = time.monotonic(), 0.0, ""
        self.every = SHOWN_EVERY_S if sys.stderr.isatty() else 60.0

    def __call__(self, step: str, number: int, total: int) -> None:
        now = time.monotonic()
        if step != self.step:
            self.begun, self.step = now, step
        if number < total and now - self.last < self.every:
            return
        self.last = now
        rate = number / max(1e-3, now - self.begun)
        end = "\r" if sys.stderr.isatty() and number < total else "\n"
        print(f"{step} {number} of {total}, {rate:.0f} a second", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
