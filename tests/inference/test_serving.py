"""The serving engine: batches across requests, order, limits, faults that stay with their own scan."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.findings import Findings
from inference.package import FunctionPackage, load
from inference.package.errors import WrongHash
from inference.phantoms import chest
from inference.preprocess import ImageError
from inference.serving import Cancelled, Engine, PackageCache, Request, Source, TooSlow, ended
from tests.inference.conftest import HEATMAP, MALIGNANCY


@pytest.fixture(scope="module")
def package() -> FunctionPackage:
    return load(HEATMAP, "cpu")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scans")
    return [chest(seed, size=(256, 256)).write(folder / str(seed))[0] for seed in range(6)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(readers=2, batch=4, wait_s=0.05) as made:
        yield made


def sources(package: FunctionPackage, paths: Iterable[Path]) -> list[Source]:
    return [partial(package.read, path) for path in paths]


def findings(engine: Engine, package: FunctionPackage, paths: Iterable[Path], limit_s: float = 60) -> Findings:
    """What the engine says of one scan; raises what ended it."""
    into: queue.SimpleQueue[Request] = queue.SimpleQueue()
    request = engine.submit(package, sources(package, paths), limit_s=limit_s, into=into)
    assert list(ended([request], into)) == [[request]]
    if request.error is not None:
        raise request.error
    assert request.findings is not None
    return request.findings


def sizes(package: FunctionPackage, monkeypatch: pytest.MonkeyPatch, slow: float = 0.0) -> list[int]:
    """Sizes of the forward passes from now on; each takes `slow` seconds longer."""
    seen: list[int] = []
    real = package.predict

    def predict(batch):
        seen.append(len(batch.images))
        time.sleep(slow)
        return real(batch)

    monkeypatch.setattr(package, "predict", predict)
    return seen


def test_the_same_findings_as_alone(engine: Engine, package: FunctionPackage, scans: list[Path]) -> None:
    requests = [engine.submit(package, sources(package, [path])) for path in scans]
    for request, path in zip(requests, scans, strict=True):
        assert request.done.wait(60)
        assert request.error is None and request.findings is not None
        alone, together = package.run([path]).images[0], request.findings.images[0]
        for name, value in alone.global_probabilities.items():
            assert together.global_probabilities[name] == pytest.approx(value, abs=1e-4)
        difference = alone.matrices[64].astype(int) - together.matrices[64].astype(int)
        assert np.abs(difference).max() <= 1
        assert together.sop_instance_uid == alone.sop_instance_uid


def test_requests_share_forward_passes(
    engine: Engine, package: FunctionPackage, scans: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sizes(package, monkeypatch, slow=0.1)
    requests = [engine.submit(package, sources(package, [path])) for path in scans * 2]
    assert all(request.done.wait(60) for request in requests)
    assert sum(seen) == 12 and max(seen) > 1 and len(seen) < 12 and max(seen) <= 4


def test_the_urgent_one_overtakes(package: FunctionPackage, scans: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes(package, monkeypatch, slow=0.15)
    ended: list[str] = []
    with Engine(readers=1, batch=1, ahead=1) as engine:

        def wait(name: str, priority: int) -> threading.Thread:
            request = engine.submit(package, sources(package, [scans[0]]), priority=priority)
            thread = threading.Thread(target=lambda: (request.done.wait(60), ended.append(name)))
            thread.start()
            return thread

        threads = [wait(f"routine {i}", 0) for i in range(5)]
        threads.append(wait("urgent", 5))
        for thread in threads:
            thread.join(60)
    # one routine scan may be in the forward pass and one being read when the urgent one arrives
    assert ended.index("urgent") <= 2


def test_a_bad_image_is_named_and_the_others_are_read(
    engine: Engine, package: FunctionPackage, scans: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no scan")
    found = findings(engine, package, [scans[0], bad])
    assert len(found.images) == 1 and any("bad.dcm" in text for text in found.warnings)
    with pytest.raises(ImageError, match=r"bad\.dcm"):
        findings(engine, package, [bad])


def test_a_fault_in_the_network_ends_its_own_scan_alone(
    engine: Engine, package: FunctionPackage, scans: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = package.prepare([scans[3]]).images[0].source.sop_instance_uid
    real = package.predict

    def predict(batch):
        time.sleep(0.1)
        if any(image.source.sop_instance_uid == poison for image in batch.images):
            raise RuntimeError("a kernel failed")
        return real(batch)

    monkeypatch.setattr(package, "predict", predict)
    requests = [engine.submit(package, sources(package, [path])) for path in scans]
    assert all(request.done.wait(60) for request in requests)
    assert [request.error is None for request in requests] == [True, True, True, False, True, True]
    assert findings(engine, package, [scans[0]]).images  # and the engine goes on


def test_time_and_cancellation(package: FunctionPackage, scans: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes(package, monkeypatch, slow=0.6)
    with Engine(readers=1, batch=1) as engine:
        with pytest.raises(TooSlow, match="1 seconds"):
            findings(engine, package, scans, limit_s=1)
        into: queue.SimpleQueue[Request] = queue.SimpleQueue()
        request = engine.submit(package, sources(package, scans), into=into)
        parts: list[float] = []

        def look(waiting: Sequence[Request]) -> None:
            parts.extend(one.part for one in waiting)
            if parts[-1] > 0:
                request.fail(Cancelled("enough"))

        assert list(ended([request], into, look)) == [[request]] and isinstance(request.error, Cancelled)
        assert parts == sorted(parts) and 0 < parts[-1] < 1
        assert findings(engine, package, scans[:1]).images  # what was given up does not hold the next one up for long
        left = engine.submit(package, sources(package, scans))
    assert left.done.is_set() and isinstance(left.error, Cancelled)
    with pytest.raises(Cancelled):
        engine.submit(package, sources(package, scans))


def test_requests_that_ended_meanwhile_come_together(
    engine: Engine, package: FunctionPackage, scans: list[Path]
) -> None:
    into: queue.SimpleQueue[Request] = queue.SimpleQueue()
    requests = [engine.submit(package, sources(package, [path]), into=into) for path in scans]
    assert all(request.done.wait(60) for request in requests)
    [together] = ended(requests, into)
    assert set(together) == set(requests)


def test_memory_that_runs_out_halves_the_batch_from_then_on(
    package: FunctionPackage, scans: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = package.network.forward, []

    def forward(pixels, *extra):
        seen.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("simulated: more than two images")
        return real(pixels, *extra)

    monkeypatch.setattr(package.network, "forward", forward)
    monkeypatch.setattr(package, "largest", None)
    with Engine(readers=4, batch=4, wait_s=2.0) as engine:
        requests = [engine.submit(package, sources(package, [path])) for path in scans[:4]]
        assert all(request.done.wait(60) and request.error is None for request in requests)
        assert seen[0] == 4 and package.largest == 2
        seen.clear()
        requests = [engine.submit(package, sources(package, [path])) for path in scans[:4]]
        assert all(request.done.wait(60) and request.error is None for request in requests)
        assert max(seen) == 2


def test_packages_are_kept_up_to_a_number_of_bytes() -> None:
    chest_sha, breast_sha = (load(folder, "cpu").manifest.weights_sha256 for folder in (HEATMAP, MALIGNANCY))
    cache = PackageCache(limit=1, device="cpu")
    first = cache.get(HEATMAP, chest_sha)
    assert cache.get(HEATMAP, chest_sha) is first and cache.bytes == first.nbytes > 100_000
    cache.get(MALIGNANCY, breast_sha)
    assert len(cache) == 1 and cache.get(HEATMAP, chest_sha) is not first
    large = PackageCache(limit=1 << 30, device="cpu")
    large.get(HEATMAP, chest_sha)
    large.get(MALIGNANCY, breast_sha)
    assert len(large) == 2
    with pytest.raises(WrongHash):
        large.get(HEATMAP, breast_sha)
