"""Why a package cannot be loaded. `str(error)` names the file in one line."""

from __future__ import annotations


class PackageError(Exception):
    """A package that cannot be used; the subclasses say why."""


class MissingFile(PackageError):
    """The folder or one of its files is not there."""


class WrongHash(PackageError):
    """A file is not the one that function.toml names."""


class BadManifest(PackageError):
    """function.toml cannot be read, lacks an entry, or does not fit the weights."""
