"""Rendered pictures kept on this machine's disk."""

from portal.archive.shelf import Shelf
from portal.core.aside import Aside

MOST_WAITING = 64  # pictures; on a slow disk more are made again rather than held in memory

_shelf = Shelf("pictures", 2 * 1024**3)
find, keep, located = _shelf.find, _shelf.keep, _shelf.located


def _keep_all(made: list[tuple[str, bytes]]) -> None:
    for digest, data in made:
        keep(digest, data)


_keeping = Aside("pictures", lambda: _keep_all, MOST_WAITING)


def keep_soon(digest: str, data: bytes) -> None:
    """Keep a picture without making anybody wait for the disk; when too many wait it is made again one day."""
    _keeping.put([(digest, data)])


def tag(digest: str) -> str:
    """The entity tag of a picture."""
    return f'"{digest[:32]}"'
