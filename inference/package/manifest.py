"""function.toml: what a function is, reads and says."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.package.errors import BadManifest, MissingFile

MANIFEST = "function.toml"
WEIGHTS = "weights.safetensors"
CARD = "card.md"
FUNCTION_TYPES = ("heatmap", "malignancy")
HELPER_TYPES = ("regions", "category")  # region finder and input check: they serve functions, no one asks for them
OUTPUT_TYPES = FUNCTION_TYPES + HELPER_TYPES


@dataclass(frozen=True)
class ScanCategory:
    """What scans a function is for. `modality` holds the DICOM codes it takes."""

    modality: tuple[str, ...]
    body_region: str


@dataclass(frozen=True)
class Manifest:
    """function.toml, checked.

    thresholds         one per class for "present"; for malignancy also "case" (call)
    region_thresholds  one per class on the map; `thresholds` may hold one for "any" (at least one class)
    correlations       (K, K) of the training labels, or None
    network            constructor arguments of the network
    files              name → SHA-256
    trial              why it is not to be put into service by itself; "" where nothing speaks against it
    """

    id: str
    version: str
    title: str
    licence: str
    category: ScanCategory
    output_type: str
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    rows: tuple[int, ...]
    preprocessing: str
    network: dict[str, Any]
    thresholds: dict[str, float]
    region_thresholds: dict[str, float]
    training: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, str]
    correlations: NDArray[np.float64] | None = None
    trial: str = ""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.files[WEIGHTS]


def read_manifest(folder: Path) -> Manifest:
    """Parse and check function.toml. MissingFile or BadManifest."""
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingFile(f"{path} is missing")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadManifest(f"{path} cannot be read: {error}") from error
    try:
        manifest = _build(raw)
    except KeyError as error:
        raise BadManifest(f"{path} lacks the entry {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadManifest(f"{path} has an entry of the wrong kind: {error}") from error
    _check(manifest, path)
    return manifest


def _build(raw: dict[str, Any]) -> Manifest:
    category = raw["scan_category"]
    modality = category["modality"]
    height, width = (int(value) for value in raw["input_size"])
    return Manifest(
        id=str(raw["id"]),
        version=str(raw["version"]),
        title=str(raw["title"]),
        licence=str(raw["licence"]),
        category=ScanCategory(
            tuple([modality] if isinstance(modality, str) else modality), str(category["body_region"])
        ),
        output_type=str(raw["output_type"]),
        classes=tuple(str(name) for name in raw["classes"]),
        input_size=(height, width),
        rows=tuple(int(row) for row in raw["rows"]),
        preprocessing=str(raw["preprocessing"]),
        network=dict(raw["network"]),
        thresholds={key: float(value) for key, value in raw["thresholds"].items()},
        region_thresholds={key: float(value) for key, value in raw["region_thresholds"].items()},
        training=dict(raw["training"]),
        metrics=dict(raw["metrics"]),
        files={key: str(value) for key, value in raw["files"].items()},
        correlations=np.array(raw["correlations"], np.float64) if "correlations" in raw else None,
        trial=str(raw.get("trial", "")),
    )


def _check(manifest: Manifest, path: Path) -> None:
    wanted = set(manifest.classes) | ({"case"} if manifest.output_type == "malignancy" else set())
    problems = []
    if manifest.output_type not in OUTPUT_TYPES:
        problems.append(f"output_type {manifest.output_type!r} is none of {', '.join(OUTPUT_TYPES)}")
    if missing := wanted - set(manifest.thresholds):
        problems.append(f"no threshold for {', '.join(sorted(missing))}")
    if missing := set(manifest.classes) - set(manifest.region_thresholds):
        problems.append(f"no region threshold for {', '.join(sorted(missing))}")
    if missing := {WEIGHTS, CARD} - set(manifest.files):
        problems.append(f"no hash for {', '.join(sorted(missing))}")
    if manifest.correlations is not None and manifest.correlations.shape != (len(manifest.classes),) * 2:
        problems.append(f"correlations of shape {manifest.correlations.shape} for {len(manifest.classes)} classes")
    if not manifest.classes:
        problems.append("no classes")
    if any("/" in name or "\\" in name or name.startswith(".") for name in manifest.files):
        problems.append("a file outside the package")
    if problems:
        raise BadManifest(f"{path}: {'; '.join(problems)}")


def to_toml(values: dict[str, Any]) -> str:
    """TOML of nested dicts of strings, numbers, booleans and lists; plain values first, tables after."""
    lines: list[str] = []
    _table(values, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(values: dict[str, Any], name: str, lines: list[str]) -> None:
    if name:
        lines += ["", f"[{name}]"]
    for key, value in values.items():
        if not isinstance(value, dict):
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in values.items():
        if isinstance(value, dict):
            _table(value, f"{name}.{_key(key)}" if name else _key(key), lines)


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isalnum() and plain.isascii() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no place in function.toml")
