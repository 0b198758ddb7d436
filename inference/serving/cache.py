"""Packages in memory, the least recently used one gone first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from inference.package import FunctionPackage, load
from inference.package.errors import WrongHash
from inference.serving.metrics import LOADED_BYTES


class PackageCache:
    """Loads a package when it is first asked for and keeps up to `limit` bytes of weights. Safe for threads."""

    def __init__(self, limit: int, device: str = "auto", precision: str = "auto", compiled: bool = False) -> None:
        """limit in bytes; the package that was asked for last stays even when it alone is larger.

        device, precision, compiled  as `load` takes them
        """
        self.limit, self.device, self.precision, self.compiled = limit, device, precision, compiled
        self._kept: OrderedDict[tuple[Path, str], FunctionPackage] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: Path, weights_sha256: str) -> FunctionPackage:
        """The package in `folder`, which must hold the weights that were registered.

        PackageError when it is missing, damaged or another one.
        """
        key = (folder, weights_sha256)
        with self._lock:
            if key not in self._kept:
                package = load(folder, self.device, self.precision, self.compiled)
                if package.manifest.weights_sha256 != weights_sha256:
                    raise WrongHash(f"{folder.name}: the weights are not those that were registered")
                self._kept[key] = package
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self.bytes > self.limit:
                self._kept.popitem(last=False)
            LOADED_BYTES.set(self.bytes)
            return self._kept[key]

    @property
    def bytes(self) -> int:
        """Size of the weights in memory."""
        return sum(package.nbytes for package in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
