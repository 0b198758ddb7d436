"""A package's files checked against the hashes of its function.toml."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from inference.package.errors import BadManifest, MissingFile, WrongHash
from inference.package.manifest import HELPER_TYPES, MANIFEST, WEIGHTS, Manifest, read_manifest


def verified(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest and the bytes of the weights. MissingFile, WrongHash or BadManifest."""
    if not folder.is_dir():
        raise MissingFile(f"{folder} is not a folder")
    manifest = read_manifest(folder)
    weights = b""
    for name, wanted in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise MissingFile(f"{file} is missing")
        content = file.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != wanted:
            raise WrongHash(f"{file} has SHA-256 {found[:12]}…, {MANIFEST} says {wanted[:12]}…")
        if name == WEIGHTS:
            weights = content
    return manifest, weights


def fill(network: nn.Module, weights: bytes, folder: Path) -> nn.Module:
    """The network with these weights, in evaluation mode. BadManifest when they do not fit."""
    try:
        network.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise BadManifest(f"{folder}: the weights do not fit the network: {error}") from error
    return network.eval()


def is_helper(folder: Path) -> bool:
    """Whether a package helps functions (finds regions, checks inputs) and is none itself."""
    return read_manifest(folder).output_type in HELPER_TYPES
