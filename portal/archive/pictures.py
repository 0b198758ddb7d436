"""Rendered pictures kept on this machine's disk."""

from portal.archive.shelf import Shelf

_shelf = Shelf("pictures", 2 * 1024**3)
find, keep, located = _shelf.find, _shelf.keep, _shelf.located


def tag(digest: str) -> str:
    """The entity tag of a picture."""
    return f'"{digest[:32]}"'
