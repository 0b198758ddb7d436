"""The text recogniser: PP-OCRv6 detection and recognition in ONNX Runtime, weights out of the rapidocr package.

Nothing is downloaded: both models are named by their files in the installed package, and both stay in this process.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels.shown import Grey

ENGINE = f"rapidocr {version('rapidocr')} PP-OCRv6 small"
SURE = 0.9  # of a reading; below it the line is read upside down too
Quad = NDArray[np.int32]  # (4, 2) corners x, y
_lock = threading.Lock()


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR  # ONNX Runtime comes with it: web processes know this module and never read

    models = Path(str(find_spec("rapidocr").origin)).parent / "models"  # type: ignore[union-attr]
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # a worker process is one core
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
            "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            "Det.limit_type": "max",
            "Det.limit_side_len": 4096,
            "Det.box_thresh": 0.4,
        }
    )


def detect(picture: Grey) -> list[tuple[Quad, float]]:
    """(corners, certainty) of lines of text in any direction; the picture's sides are at least 32."""
    with _lock:
        found = _engine()._load_det_model()(np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)))
    if found.boxes is None:
        return []
    return [(np.asarray(box), float(score)) for box, score in zip(found.boxes, found.scores, strict=True)]


def recognise(picture: Grey, quads: list[Quad]) -> list[tuple[str, float]]:
    """(text, confidence) of each line, the best of the directions it may be read in."""
    strips = [_strip(picture, quad) for quad in quads]
    out = _texts(strips)
    for turns in (2, 1, 3):
        doubtful = [n for n, (text, sure) in enumerate(out) if sure < SURE or not text]
        if turns != 2:  # a strip that is about square may stand: all others were laid down already
            doubtful = [n for n in doubtful if 0.6 < strips[n].shape[1] / strips[n].shape[0] < 1.7]
        turned = _texts([np.ascontiguousarray(np.rot90(strips[n], turns)) for n in doubtful])
        for n, (text, sure) in zip(doubtful, turned, strict=True):
            if sure > out[n][1] + (0.0 if turns == 2 else 0.1):
                out[n] = (text, sure)
    return out


def _strip(picture: Grey, quad: Quad) -> NDArray[np.uint8]:
    """The line's pixels in three channels, lying."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    strip: Any = get_rotate_crop_image(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), quad.astype(np.float32))
    return np.asarray(strip)


def _texts(strips: list[NDArray[np.uint8]]) -> list[tuple[str, float]]:
    if not strips:
        return []
    with _lock:
        from rapidocr.ch_ppocr_rec import TextRecInput

        read = _engine()._load_rec_model()(TextRecInput(img=strips, return_word_box=False))
    return [(text.strip(), float(score)) for text, score in zip(read.txts, read.scores, strict=True)]
