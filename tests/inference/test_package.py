"""Loading: files, hashes, manifest; findings of small packages; the gate at the function's door."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.findings import Findings
from inference.package import BadManifest, FunctionPackage, MissingFile, PackageError, WrongHash, load
from inference.package.manifest import to_toml
from inference.preprocess import ImageError, ViewHint
from tests.inference.conftest import HEATMAP, MALIGNANCY


@pytest.fixture(scope="module")
def heatmap() -> FunctionPackage:
    return load(HEATMAP, "cpu")


@pytest.fixture(scope="module")
def malignancy() -> FunctionPackage:
    return load(MALIGNANCY, "cpu")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HEATMAP, tmp_path / "package"))


def with_threshold(package: FunctionPackage, case: float) -> FunctionPackage:
    manifest = replace(package.manifest, thresholds={**package.manifest.thresholds, "case": case})
    return FunctionPackage(manifest, package.network, torch.device("cpu"))


@pytest.mark.parametrize("name", ["function.toml", "weights.safetensors", "card.md"])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(MissingFile, match=name):
        load(copy)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md"])
def test_one_changed_byte_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(WrongHash, match=name):
        load(copy)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('output_type = "heatmap"', 'output_type = "poem"', "poem"),
        ("id = ", "identity = ", "id"),
        ("[thresholds]\nAtelectasis", "[thresholds]\nAtelectasi", "Atelectasis"),
        ("input_size = [256, 256]", "input_size = 256", "wrong kind"),
        ("width = 24", "width = 16", "weights do not fit"),
        ("width = 24", "breadth = 24", "no network"),
        ("[network]", "[network", "cannot be read"),
        ('"weights.safetensors" =', '"../weights.safetensors" =', "outside the package"),
    ],
)
def test_bad_manifest_says_why(copy: Path, old: str, new: str, said: str) -> None:
    path = copy / "function.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BadManifest, match=said):
        load(copy)


def test_every_error_is_a_package_error() -> None:
    assert all(issubclass(error, PackageError) for error in (MissingFile, WrongHash, BadManifest))


def test_toml_survives_a_round_trip() -> None:
    import tomllib

    values = {"a": 'x"\\\n', "b": [1, 2.5], "t": {"Pleural Thickening": 0.1, "u": {"c": True}}}
    assert tomllib.loads(to_toml(values)) == values
    with pytest.raises(TypeError):
        to_toml({"a": None})


def test_heat_map_findings(heatmap: FunctionPackage, chest_file: Path) -> None:
    seen: list[tuple[float, str]] = []
    found = heatmap.run([chest_file], progress=lambda part, stage: seen.append((part, stage)))
    image = found.images[0]
    assert {row: m.shape for row, m in image.matrices.items()} == {r: (14, r, r) for r in (8, 16, 32, 64)}
    assert all(m.dtype == np.uint8 for m in image.matrices.values())
    assert list(image.global_probabilities) == list(heatmap.manifest.classes)
    assert (image.rows, image.columns, image.score, found.case) == (320, 320, None, None)
    assert [part for part, _ in seen] == sorted(part for part, _ in seen) and seen[-1][0] == 1.0
    assert found.weights_sha256 == heatmap.manifest.weights_sha256 and found.timings_ms["total"] > 0
    assert image.any_abnormality == any(image.present.values())
    assert {r.class_name for r in image.regions} <= {name for name, there in image.present.items() if there}


def test_step_by_step_equals_run(heatmap: FunctionPackage, chest_file: Path) -> None:
    steps = heatmap.findings(heatmap.predict(heatmap.prepare([chest_file])))
    run = heatmap.run([chest_file])
    assert steps.images[0].global_probabilities == run.images[0].global_probabilities


def test_findings_survive_json(malignancy: FunctionPackage, heatmap: FunctionPackage,
                               case_files: list[Path], chest_file: Path) -> None:  # fmt: skip
    for found in (with_threshold(malignancy, 0.0).run(case_files), heatmap.run([chest_file])):
        raw = json.loads(json.dumps(found.to_dict()))
        again = Findings.from_dict(raw)
        assert json.loads(json.dumps(again.to_dict())) == raw
        for a, b in zip(again.images, found.images, strict=True):
            assert all(np.array_equal(a.matrices[row], b.matrices[row]) for row in b.matrices)
        assert all(image["matrices"] == {} for image in found.to_dict(matrices=False)["images"])


def test_gate_lets_nothing_local_out_of_a_negative_case(malignancy: FunctionPackage, case_files: list[Path]) -> None:
    closed, opened = (
        with_threshold(malignancy, 1.1).run(case_files),
        with_threshold(malignancy, 0.0).run(case_files),
    )
    assert closed.case is not None and opened.case is not None
    assert not closed.case.call and closed.case.lesions == ()
    assert all(image.regions == () and image.matrices == {} for image in closed.images)
    assert opened.case.call and all(image.matrices[64].shape == (1, 64, 64) for image in opened.images)
    assert closed.case.score == opened.case.score and len(closed.case.views) == 4


def test_case_is_the_rule_on_the_images_scores(malignancy: FunctionPackage, case_files: list[Path]) -> None:
    found = malignancy.run(case_files)
    assert found.case is not None
    by_view = {f"{i.laterality}-{i.view}": i.score for i in found.images}
    left = (by_view["L-CC"] + by_view["L-MLO"]) / 2  # type: ignore[operator]
    right = (by_view["R-CC"] + by_view["R-MLO"]) / 2  # type: ignore[operator]
    assert found.case.score == pytest.approx(max(left, right))


def test_missing_views_and_hints(malignancy: FunctionPackage, case_files: list[Path]) -> None:
    found = malignancy.run(case_files[:1], hints=[ViewHint("L", "MLO")])
    assert found.case is not None and found.case.missing_views == ("R-CC", "L-CC", "R-MLO")
    assert any("views not there" in text for text in found.warnings)


def test_one_bad_image_does_not_stop_the_case(
    malignancy: FunctionPackage, case_files: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"not an image")
    for size in (1, 8):
        found = malignancy.run([*case_files[:2], bad], batch_size=size)
        assert len(found.images) == 2 and any("bad.dcm" in text for text in found.warnings)
    with pytest.raises(ImageError, match=r"bad\.dcm"):
        malignancy.run([bad])
    with pytest.raises(ValueError, match="no image"):
        malignancy.run([])
    with pytest.raises(ValueError, match="hints"):
        malignancy.run(case_files, hints=[None])


def test_batches_do_not_change_the_result(heatmap: FunctionPackage, case_files: list[Path]) -> None:
    single, joint = heatmap.run(case_files, batch_size=1), heatmap.run(case_files, batch_size=4)
    for a, b in zip(single.images, joint.images, strict=True):
        assert list(a.global_probabilities.values()) == pytest.approx(list(b.global_probabilities.values()), abs=1e-4)


def test_out_of_memory_halves_the_batch(heatmap: FunctionPackage, case_files: list[Path]) -> None:
    class Tight(torch.nn.Module):
        sizes: list[int] = []

        def forward(self, x: torch.Tensor):
            self.sizes.append(len(x))
            if len(x) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return heatmap.network(x)

    tight = FunctionPackage(heatmap.manifest, Tight(), torch.device("cpu"))
    batch = heatmap.prepare(case_files)
    assert np.allclose(tight.predict(batch).pooled, heatmap.predict(batch).pooled, atol=1e-4)
    assert Tight.sizes == [4, 2, 1, 1, 2, 1, 1]
