"""Rendered pictures kept on this machine's disk."""

from portal.archive.shelf import Shelf

_shelf = Shelf("pictures", 2 * 1024**3)
find, keep = _shelf.find, _shelf.keep
