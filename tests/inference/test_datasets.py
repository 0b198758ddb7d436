"""NIH ChestX-ray14 laid out as distributed, tables of pictures, and what is refused in them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.cli import main
from inference.datasets import LeakageError, SetError, load
from inference.datasets.nih import boxes_to_grid, official_test, read_boxes
from inference.datasets.sources import split
from inference.training.config import CHEST_CLASSES, TrainConfig

HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
PATIENTS = 12


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve patients with two 1024×1024 images each, in the folders and files of the distribution."""
    root = tmp_path_factory.mktemp("nih")
    rng = np.random.default_rng(3)
    lines, official = [HEAD], {"train_val_list.txt": "", "test_list.txt": ""}
    for patient in range(1, PATIENTS + 1):
        for follow in range(2):
            name = f"{patient:08d}_{follow:03d}.png"
            folder = root / f"images_{1 + patient % 2:03d}" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 200, (64, 64), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((1024, 1024), Image.Resampling.BILINEAR)
            (picture.convert("RGBA") if patient == 2 else picture).save(folder / name)
            finding = ("No Finding", "Effusion|Infiltration", "Pleural_Thickening")[patient % 3]
            lines.append(f"{name},{finding},{follow},{patient},0{50 + patient}Y,M,PA,2500,2048,0.168,0.168,\n")
            official["test_list.txt" if patient > 9 else "train_val_list.txt"] += name + "\n"
    (root / "Data_Entry_2017_v2020.csv").write_text("".join(lines))
    box = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Infiltrate,512,256,128,64\n"
    with gzip.open(root / "BBox_List_2017.csv.gz", "wt") as file:
        file.write(box)
    for name, text in official.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def config(distribution: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig("heatmap", "nih", str(tmp_path / "run"), root=str(distribution), input_size=(64, 64),
                       width=8, growth=4, depth=1, epochs=1, batch=8, threads=1)  # fmt: skip


def test_the_distribution_is_read(config: TrainConfig) -> None:
    known = load(config)
    assert len(known) == 24 and len(set(known.patients)) == PATIENTS
    first = known.names.tolist().index("00000001_000.png")
    assert [CHEST_CLASSES[k] for k in np.flatnonzero(known.labels[first])] == ["Effusion", "Infiltration"]
    assert known.ages[first] == 51 and known.sexes[first] == "M" and known.views[first] == "PA"
    assert known.image(first).shape == (64, 64) and known.image(first).std() > 10
    region = known.region(first)
    assert region is not None and known.boxed.sum() == 1
    # 512/1024 of 64 patches is the 32nd; 128 pixels are 8 patches, 64 are 4; the box list says "Infiltrate"
    ys, xs = np.nonzero(region[CHEST_CLASSES.index("Infiltration")])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (32, 39, 16, 19)
    assert known.region(known.names.tolist().index("00000003_000.png")) is not None  # no finding: empty, not unknown
    assert known.region(known.names.tolist().index("00000001_001.png")) is None  # a finding nobody has drawn


def test_the_official_test_patients_stay_sealed(config: TrainConfig, distribution: Path, tmp_path: Path) -> None:
    whole = load(config)
    parts = split(config, whole)
    assert parts.test == {"10", "11", "12"} and len(parts.train | parts.validation) == 9
    leaking = tmp_path / "leak"
    leaking.mkdir()
    (leaking / "train_val_list.txt").write_text("00000004_000.png\n")
    (leaking / "test_list.txt").write_text("00000004_001.png\n")
    with pytest.raises(LeakageError, match="both official lists"):
        official_test(leaking, whole)


def test_one_command_trains_on_it(config: TrainConfig, distribution: Path) -> None:
    words = f"train heatmap --data nih --root {distribution} --out {config.out} --size 64 --patient-inputs "
    words += "--epochs 1 --width 8 --growth 4 --batch 8 --threads 1"
    assert main(words.split()) == 0
    assert {"config.json", "history.csv", "weights.safetensors"} <= {p.name for p in Path(config.out).iterdir()}
    assert main(["evaluate", config.out]) == 0
    report = Path(config.out) / "report"
    assert "6 images of 3 patients" in (report / "report.md").read_text()
    made = {path.name for path in report.iterdir()}
    assert {"classes.csv", "operating_points.csv", "correlations.csv", "roc.svg", "reliability.svg"} <= made


def test_prepared_images_are_cached_in_a_file_when_memory_is_short(config: TrainConfig, tmp_path: Path) -> None:
    small = replace(config, memory_mb=0, cache=str(tmp_path / "cache"))
    first = load(small)
    pictures = [first.image(i).copy() for i in range(4)]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    again = load(small)  # another process would find the same file
    assert all(np.array_equal(again.image(i), pictures[i]) for i in range(4))
    assert all(np.array_equal(load(config).image(i), pictures[i]) for i in range(4))


def test_a_box_smaller_than_a_patch_marks_one() -> None:
    grid = boxes_to_grid([("Nodule", (1000.0, 1000.0, 2.0, 2.0))], {"Nodule": 0}, (8, 8))
    assert grid.sum() == 1 and grid[0, 7, 7] == 1
    with pytest.raises(SetError, match="'Mass' of the box list"):
        boxes_to_grid([("Mass", (0, 0, 9, 9))], {"Nodule": 0}, (8, 8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "Data_Entry_2017_v2020.csv").unlink(), "no Data_Entry"),
        (lambda root: [p.unlink() for p in root.rglob("*.png")], "none of the 24 images"),
        (
            lambda root: (root / "Data_Entry_2017_v2020.csv").write_text(
                HEAD + "00000001_000.png,Gout,0,1,51,M,PA,,,,,\n"
            ),
            "'Gout' is no class",
        ),
    ],
)
def test_what_is_wrong_is_named(config: TrainConfig, distribution: Path, tmp_path: Path, change, said: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(distribution, copy)
    change(copy)
    with pytest.raises(SetError, match=said):
        load(replace(config, root=str(copy)))


@pytest.fixture
def table_folder(tmp_path: Path) -> Path:
    rows = ["image,patient,age,Effusion\n"]
    for i in range(6):
        Image.fromarray(np.full((80, 70), 20 * i, np.uint8) + np.eye(80, 70, dtype=np.uint8) * 90).save(
            tmp_path / f"{i}.png"
        )
        rows.append(f"{i}.png,p{i // 2},{40 + i},{i % 2}\n")
    (tmp_path / "labels.csv").write_text("".join(rows))
    return tmp_path


def test_a_table_of_pictures(table_folder: Path) -> None:
    config = TrainConfig("heatmap", "table", "", root=str(table_folder), classes=("Effusion",), input_size=(64, 64))
    known = load(config)
    assert known.labels[:, 0].tolist() == [0, 1] * 3 and known.patients.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert known.image(5).shape == (64, 64) and known.ages.tolist() == [40, 41, 42, 43, 44, 45]
    table = table_folder / "labels.csv"
    good = table.read_text()
    for wrong, said in (
        (good.replace("3.png,p1,43,1", "3.png,p1,43,2"), "line 5, Effusion: '2'"),
        (good.replace("2.png", "../2.png"), r"line 4: \.\./2\.png is not a file of this folder"),
        (good.replace("4.png,p2", "4.png,"), "line 6: no patient"),
        (good.replace("Effusion", "Mass"), "column Effusion"),
    ):
        table.write_text(wrong)
        with pytest.raises(SetError, match=said):
            load(config)


@pytest.mark.reference
def test_the_real_box_list_has_the_boxes_that_it_is_known_for(reference_data: Path) -> None:
    boxes = read_boxes(reference_data / "chest" / "BBox_List_2017.csv.gz")
    assert sum(len(found) for found in boxes.values()) == 984 and len(boxes) == 880
    assert {name for found in boxes.values() for name, _ in found} <= set(CHEST_CLASSES)


def test_drawn_phantoms_are_kept_in_the_cache_and_read_from_there(tmp_path: Path) -> None:
    config = TrainConfig("heatmap", "phantoms", str(tmp_path), count=3, input_size=(64, 64), threads=1)
    drawn, kept = load(config), replace(config, cache=str(tmp_path / "cache"))
    load(kept)
    (file,) = (tmp_path / "cache").iterdir()
    again, one = load(kept), load(kept, {str(drawn.patients[1])})
    for row in range(3):
        assert np.array_equal(again.image(row), drawn.image(row))
        assert np.array_equal(again.region(row), drawn.region(row))  # type: ignore[arg-type]
    assert np.array_equal(again.labels, drawn.labels) and again.patients.tolist() == drawn.patients.tolist()
    assert len(one) == 1 and np.array_equal(one.image(0), drawn.image(1))
    load(replace(kept, seed=2))  # other phantoms get another file
    assert len(list((tmp_path / "cache").iterdir())) == 2 and file.is_file()
