"""The face of a whole series, and one instance of it without the face. No database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from portal.deidentify.faces import NoFace, NoVolume, Plan, Plane, apply, generic_face, header
from portal.deidentify.faces.geometry import STEP, Floats, longest_run
from portal.deidentify.pixels.shown import NotShown
from portal.ingest.inspect import Damaged, Opened

VERSION = "2"
MOST_BROKEN = 8  # slices of a volume that may be impossible to read
# what pydicom, its decoders and numpy raise for impossible values and pixels
IMPOSSIBLE = (Damaged, ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError, IndexError)


@dataclass(frozen=True)
class Slice:
    """A slice that may be of a head; `read` gives its values (see header.measured) and may raise OSError or Damaged."""

    plane: Plane
    modality: str
    read: Callable[[], Floats]


@dataclass(frozen=True)
class Face:
    """What became of the face in a series: the plan of its replacement, or why there is none.

    open  a face may be in the pictures and could not be looked for
    """

    plan: Plan | None = None
    reason: str = ""
    open: bool = False

    def same(self, other: Face) -> bool:
        """Whether instances come out alike."""
        return self.open == other.open and _alike(self.plan, other.plan)


class _Broken(Exception):
    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number, self.why = number, why


class _Lazy(Sequence[Floats]):
    """The values of slices, read when they are asked for."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self._slices = slices

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, number: Any) -> Any:
        try:
            return self._slices[number].read()
        except FileNotFoundError:
            raise _Broken(number, "FileNotFoundError") from None
        except IMPOSSIBLE as error:
            raise _Broken(number, type(error).__name__) from error


def look(slices: Iterable[Slice], said: bool | None, key: bytes) -> Face:
    """Look for the face in the largest stack of slices that lie parallel. Raises OSError.

    said  what the series' headers say (see `saying`); key: of the series
    Slices that cannot be read are left away, a few of them; so is what lies apart from the most that lie together.
    """
    stacks: list[list[Slice]] = []
    for one in slices:
        stack = next((s for s in stacks if s[0].plane.alike(one.plane) and s[0].modality == one.modality), None)
        if stack is None:
            stacks.append([one])
        else:
            stack.append(one)
    if not stacks:
        return Face(reason="no_single_slices", open=bool(said))
    stack = max(stacks, key=len)
    run = [stack[n] for n in longest_run([one.plane for one in stack])]
    apart = len(run) < len(stack) and len(run) > 2
    face = _look(run if apart else stack, said, key)
    return Face(reason="wide_gaps", open=bool(said)) if apart and face.plan is None else face


def _look(stack: list[Slice], said: bool | None, key: bytes) -> Face:
    for _ in range(MOST_BROKEN):
        try:
            planes = [one.plane for one in stack]
            return Face(generic_face(planes, _Lazy(stack), stack[0].modality, said, key))
        except NoVolume as error:
            return Face(reason=error.reason, open=bool(said))
        except NoFace as error:
            return Face(reason=error.reason)
        except _Broken as error:
            why = error.why
            del stack[error.number]
        except IMPOSSIBLE as error:
            return Face(reason=f"not_read: {type(error).__name__}", open=bool(said))
    return Face(reason=f"not_read: {why}", open=bool(said))


def saying(said: Iterable[bool | None]) -> bool | None:
    """What the headers of a series say together: a head when one does, another part when one does, else nothing."""
    found = set(said)
    return True if True in found else False if False in found else None


def frame(file: Opened) -> NDArray[Any]:
    """The stored values of an instance's first frame. Raises what pydicom's decoders raise."""
    file.stream.seek(0)
    return next(islice(iter_pixels(file.stream, raw=True), 1))


def beyond(made: Plan, plane: Plane) -> bool:
    """Whether a slice reaches over an end of the plan at which the face goes on."""
    heights = plane.corners()[:, 2]
    top = made.low + made.step * (len(made.region) - 1)
    under, over = heights.min() < made.low - STEP, heights.max() > top + STEP
    return bool((made.region[0].any() and under) or (made.region[-1].any() and over))


def beside(plane: Plane, looked: Iterable[Plane]) -> bool:
    """Whether a slice lies to the side, before or behind of the planes that were in view."""
    corners, seen = plane.corners()[:, :2], np.concatenate([p.corners()[:, :2] for p in looked])
    return bool((corners.min(0) < seen.min(0) - STEP).any() or (corners.max(0) > seen.max(0) + STEP).any())


def painted(found: Opened, face: Face | None) -> NDArray[Any] | None:
    """The stored values of an instance with a generic face; None where they stay as they are. Raises NotShown.

    `found.dataset` is not cleaned yet: rules of a site may take away where the slice lies.
    """
    place = header.plane(found.dataset)
    if face is None or face.plan is None or place is None:
        return None
    try:
        before = frame(found)
        values, where = apply(face.plan, header.measured(found.dataset, before), place)
        return header.stored(found.dataset, values, where, before) if where.any() else None
    except IMPOSSIBLE as error:
        raise NotShown(type(error).__name__) from error


def say(dataset: Dataset, face: Face | None, placed: bool) -> None:
    """Say in a cleaned header what became of the face; placed: whether the plan could be applied to the instance."""
    if face is not None and face.plan is not None and placed:
        header.mark(dataset)
    elif face is not None and (face.open or face.plan is not None):
        dataset.RecognizableVisualFeatures = "YES"


def packed(plan: Plan) -> bytes:
    """A plan as bytes; holds what a plan holds (see the app's README, "One-way")."""
    arrays = {f.name: v for f in fields(plan) if isinstance(v := getattr(plan, f.name), np.ndarray)}
    rest = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name not in arrays}
    out = io.BytesIO()
    words = json.dumps({**rest, "seed": plan.seed.hex()}).encode()
    np.savez_compressed(out, rest=np.frombuffer(words, np.uint8), **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def unpacked(content: bytes) -> Plan:
    """The plan that `packed` wrote, bit for bit."""
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        values: dict[str, Any] = {name: found[name] for name in found.files if name != "rest"}
        values |= json.loads(found["rest"].tobytes())
    pairs = {name: tuple(values[name]) for name in ("axis", "tissue")}
    return Plan(**{**values, **pairs, "seed": bytes.fromhex(values["seed"])})


def _alike(one: Plan | None, other: Plan | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Plan))
