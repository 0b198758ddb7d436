"""Function packages: a folder with function.toml, weights.safetensors and card.md."""

from inference.package.errors import BadManifest, MissingFile, PackageError, WrongHash
from inference.package.function import Batch, FunctionPackage, Outputs, load
from inference.package.manifest import Manifest, ScanCategory

__all__ = [
    "BadManifest",
    "Batch",
    "FunctionPackage",
    "Manifest",
    "MissingFile",
    "Outputs",
    "PackageError",
    "ScanCategory",
    "WrongHash",
    "load",
]
