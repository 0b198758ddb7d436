"""The text recogniser: PP-OCRv6 detection and recognition in ONNX Runtime, weights out of the rapidocr package.

Nothing is downloaded: both models are named by their files in the installed package, and both stay in this process.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels.memory import Memory, key_of
from portal.deidentify.pixels.shown import Grey

ENGINE = f"rapidocr {version('rapidocr')} PP-OCRv6 small"
SURE = 0.9  # of a reading; below it the line is read upside down too
CLEAR, DOUBTFUL = (0.3, 0.4), (0.2, 0.3)  # of the detector: a pixel, a whole line
NARROW = 100  # grey levels: a strip with a smaller range is stretched before it is read
Quad = NDArray[np.int32]  # (4, 2) corners x, y
_lock = threading.Lock()


class Reading(NamedTuple):
    """What the recogniser says of a line.

    sure  0 to 1
    cuts  before, between and behind its words, as shares of its length from its left end as it was laid down; empty
          where that is not known
    """

    text: str
    sure: float
    cuts: tuple[float, ...] = ()


READ: Memory[Reading] = Memory(8192)  # what strips say, by their pixels


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
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,  # a third of the detector's time was page faults
            "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
            "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            "Rec.rec_img_shape": [3, 48, 96],  # the least width; short lines are not padded to the usual 320
            "Rec.rec_batch_num": 1,  # no line is padded to its neighbour's width
        }
    )


def detect(picture: Grey, faint: bool = False) -> list[tuple[Quad, float]]:
    """(corners, certainty) of lines of text in any direction; the picture's sides are multiples of 32.

    faint  what the detector is unsure of counts too
    """
    values = np.repeat((picture.astype(np.float32) / 127.5 - 1)[None, None], 3, axis=1)
    with _lock:
        finder = _engine()._load_det_model()
        finder.postprocess_op.thresh, finder.postprocess_op.box_thresh = DOUBTFUL if faint else CLEAR
        boxes, scores = finder.postprocess_op(finder.session(values), picture.shape)
    return [(np.asarray(box), float(score)) for box, score in zip(boxes, scores, strict=True)]


def recognise(picture: Grey, quads: list[Quad]) -> list[Reading]:
    """Each line as read in the best of the directions it may be read in."""
    strips = [_strip(picture, quad) for quad in quads]
    out = _texts(strips)
    for turns in (2, 1, 3):
        doubtful = [n for n, one in enumerate(out) if one.sure < SURE or not one.text]
        if turns != 2:  # a strip that is about square may stand: all others were laid down already
            doubtful = [n for n in doubtful if 0.6 < strips[n].shape[1] / strips[n].shape[0] < 1.7]
        turned = _texts([np.ascontiguousarray(np.rot90(strips[n], turns)) for n in doubtful])
        for n, one in zip(doubtful, turned, strict=True):
            if one.sure > out[n].sure + (0.0 if turns == 2 else 0.1):
                out[n] = one._replace(cuts=tuple(1 - cut for cut in one.cuts) if turns == 2 else ())
    return out


def _strip(picture: Grey, quad: Quad) -> NDArray[np.uint8]:
    """The line's pixels in three channels, lying; faint ones with more contrast."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    strip: Any = get_rotate_crop_image(picture, quad.astype(np.float32))
    low, high = (float(v) for v in np.percentile(strip, [1, 99]))
    if 0 < high - low < NARROW:
        strip = np.clip((strip.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return np.repeat(np.asarray(strip)[..., None], 3, axis=2)


def _texts(strips: list[NDArray[np.uint8]]) -> list[Reading]:
    """Each strip as it reads; what was read before is not read again."""
    keys = [key_of(strip) for strip in strips]
    known = {key: READ.get(key) for key in keys}
    fresh = {key: strip for key, strip in zip(keys, strips, strict=True) if known[key] is None}
    for key, said in zip(fresh, _read(list(fresh.values())), strict=True):
        READ.put(key, said)
        known[key] = said
    return [known[key] or Reading("", 0.0) for key in keys]


def _read(strips: list[NDArray[np.uint8]]) -> list[Reading]:
    if not strips:
        return []
    with _lock:
        from rapidocr.ch_ppocr_rec import TextRecInput

        read = _engine()._load_rec_model()(TextRecInput(img=strips, return_word_box=True))
    rows = zip(read.txts, read.scores, read.word_results, strict=True)
    return [Reading(text.strip(), float(score), _cuts(text, places)) for text, score, places in rows]


def _cuts(text: str, places: Any) -> tuple[float, ...]:
    """Where the words of a text begin and end; places: the recogniser's columns of the other characters."""
    columns = [column for word in places.word_cols for column in word]
    lengths = [len(word) for word in text.split()]
    if len(columns) != sum(lengths) or not places.line_txt_len:
        return ()
    ends = np.cumsum(lengths)[:-1]
    between = (float((columns[n - 1] + columns[n] + 1) / 2 / places.line_txt_len) for n in ends)
    return (0.0, *between, 1.0)
