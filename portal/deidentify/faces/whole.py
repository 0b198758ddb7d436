"""The face of a whole series, and one instance of it without the face. No database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.deidentify.faces import NoFace, NoVolume, Plan, Plane, apply, generic_face, header
from portal.deidentify.faces.frames import Frame, Reader, count, ends, frames, hull
from portal.deidentify.faces.generic import at_its_height
from portal.deidentify.faces.geometry import STEP, Floats, longest_run
from portal.deidentify.pixels.shown import NotShown
from portal.ingest.inspect import Damaged, Opened

VERSION = "3"
MOST_BROKEN = 8  # slices of a volume that may be impossible to read
MOST_STACKS = 4  # stacks of a series that are looked at until one shows a face
MOST_KINDS = {"CT": 1, "MR": 2}  # of frames that lie alike (echoes, moments): a face is dark in some
# what pydicom, its decoders and numpy raise for impossible values and pixels
IMPOSSIBLE = (Damaged, ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError, IndexError)


@dataclass(frozen=True)
class Slice:
    """A slice that may be of a head; `read` gives its values (see Frame.measured) and may raise OSError or Damaged.

    kind, first, projection  see frames.Frame
    """

    plane: Plane
    modality: str
    read: Callable[[], Floats]
    kind: tuple[str, ...] = ()
    first: bool = True
    projection: bool = False


@dataclass(frozen=True)
class Face:
    """What became of the face in a series: the plan of its replacement, or why there is none.

    reason  a code; with a plan it says where the plan is from, where not from these slices
    open    a face may be in the pictures and could not be looked for
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
    """Look for the face in the stacks of slices that lie parallel, the largest first. Raises OSError.

    said  what the series' headers say (see `saying`); key: of the series
    The plan that reaches the most slices is taken; without any, what is said of the largest stack counts. Slices that
    cannot be read are left away, a few of them; so is what lies apart from the most that lie together.
    """
    every = list(slices)
    stacks = _stacks([one for one in every if not one.projection])
    if not stacks:
        return Face(reason="projection" if every else "no_single_slices", open=bool(said))
    faces = []
    best, left = None, 0
    for stack in stacks[:MOST_STACKS]:
        faces.append(face := _of_stack(stack, said, key))
        if face.plan is None:
            continue
        outside = sum(beyond(face.plan, one.plane) for one in every if not one.projection)
        if best is None or outside < left:
            best, left = face, outside
        if not left:
            break
    return best or faces[0]


def _stacks(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices that can be of one volume, those with the most places first."""
    stacks: list[list[Slice]] = []
    known: dict[tuple[Any, ...], list[Slice]] = {}
    for one in slices:
        plane = one.plane
        name = (one.modality, plane.along, plane.down, plane.spacing, plane.shape)
        stack = known.get(name)
        if stack is None or not stack[0].plane.alike(plane):
            stack = next((s for s in stacks if s[0].modality == one.modality and s[0].plane.alike(plane)), None)
        if stack is None:
            stacks.append(stack := [])
        stack.append(one)
        known[name] = stack
    return sorted(stacks, key=_places, reverse=True)


def _places(slices: Iterable[Slice]) -> int:
    return len({round(one.plane.place, 1) for one in slices})


def _of_stack(stack: list[Slice], said: bool | None, key: bytes) -> Face:
    """The face in slices that lie parallel; of several at a place those of one kind are looked at together."""
    ranked = [stack]
    for words in (2, 1, 0):  # what tells frames apart may tell the places apart too, and then it is no kind
        kinds: dict[tuple[str, ...], list[Slice]] = {}
        for one in stack:
            kinds.setdefault(one.kind[:words], []).append(one)
        ranked = sorted(kinds.values(), key=lambda k: (not k[0].first, -_places(k)))
        if 2 * _places(ranked[0]) >= _places(stack):
            break
    faces = []
    for one_kind in ranked[: MOST_KINDS[stack[0].modality]]:
        faces.append(_of_run(one_kind, said, key))
        if faces[-1].plan is not None:
            return faces[-1]
    return faces[0]


def _of_run(stack: list[Slice], said: bool | None, key: bytes) -> Face:
    run = [stack[n] for n in longest_run([one.plane for one in stack])]
    apart = len(run) < len(stack) and len(run) > 2
    face = _look(run if apart else list(stack), said, key)
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


def left_over(face: Face, dataset: Dataset, found: Sequence[Frame]) -> str:
    """Why a plan cannot be applied to all of an instance; a code, empty where it can or where there is no plan.

    dataset  not cleaned yet: rules of a site may take away where frames lie; found: its frames
    """
    if face.plan is None:
        return ""
    if any(frame.projection for frame in found):
        return "projection"
    if len(found) < count(dataset):
        return "no_single_slices"
    return "beyond_plan" if any(beyond(face.plan, plane) for plane in hull(found)) else ""


class Painted:
    """The frames of an instance with a generic face: called with a frame's number and what is stored in it."""

    def __init__(self, made: Plan, dataset: Dataset, found: Sequence[Frame]) -> None:
        near = (frame for frame in found if not frame.projection and at_its_height(made, frame.plane))
        self._plan, self._ends = made, ends(dataset)
        self.frames = {frame.number: frame for frame in near}

    def __call__(self, number: int, before: NDArray[Any]) -> NDArray[Any]:
        """What is stored instead, in a new array where it differs."""
        frame = self.frames.get(number)
        if frame is None:
            return before
        values, where = apply(self._plan, frame.measured(before), frame.plane)
        return frame.stored(values, where, before, self._ends) if where.any() else before


def painted(found: Opened, face: Face | None) -> Painted | None:
    """How the frames of an instance get a generic face; None where all of them stay as they are. Raises NotShown.

    `found.dataset` is not cleaned yet: rules of a site may take away where the slice lies.
    """
    if face is None or face.plan is None:
        return None
    try:
        made = Painted(face.plan, found.dataset, frames(found.dataset))
        if not made.frames:
            return None
        read = Reader(found)
        for number in made.frames:
            before = read(number)
            if made(number, before) is not before:
                return made
    except IMPOSSIBLE as error:
        raise NotShown(type(error).__name__) from error
    return None


def say(dataset: Dataset, face: Face | None, left: str, here: bool) -> None:
    """Say in a cleaned header what became of the face.

    left  see `left_over`; here: whether the instance shows a part of the face that was replaced
    """
    if face is not None and face.plan is not None and (here or not left):
        header.mark(dataset, whole=not left)
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
