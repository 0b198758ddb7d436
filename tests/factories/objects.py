"""Judges of DICOM objects: dciodvfy for what the standard asks, dcmjs as a reader that is none of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pydicom

VIEWER = Path(__file__).parents[2] / "static" / "viewer"
READ = """
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";
const bytes = readFileSync(process.argv[1]);
const file = dcmjs.data.DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const ds = dcmjs.data.DicomMetaDictionary.naturalizeDataset(file.dict);
delete ds.PixelData; delete ds.FloatPixelData;
console.log(JSON.stringify(ds));
"""


def valid(ds: pydicom.Dataset, path: Path) -> Path:
    """Write an object; fails on any error that dciodvfy finds."""
    ds.save_as(path, enforce_file_format=True)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    words = done.stdout + done.stderr
    assert "Error" not in words, words
    return path


def by_dcmjs(path: Path) -> dict[str, Any]:
    """The object's elements by name, as dcmjs reads them; without pixels."""
    command = ["node", "--input-type=module", "-e", READ, str(path)]
    done = subprocess.run(command, cwd=VIEWER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
