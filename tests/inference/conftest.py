"""Small phantoms on disk, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.phantoms import BreastCase, ChestImage, breast_case, chest

SHIPPED = Path(__file__).parents[2] / "inference" / "shipped"
HEATMAP = SHIPPED / "heatmap-chest-phantom"
MALIGNANCY = SHIPPED / "malignancy-mammo-phantom"


@pytest.fixture(autouse=True, scope="session")
def two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def small_case() -> BreastCase:
    return breast_case(41, malignant=True, size=(640, 520))


@pytest.fixture(scope="session")
def case_files(small_case: BreastCase, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return small_case.write(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def small_chest() -> ChestImage:
    return chest(7, classes=("Effusion", "Nodule"), size=(320, 320))


@pytest.fixture(scope="session")
def chest_file(small_chest: ChestImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_chest.write(tmp_path_factory.mktemp("chest"))[0]
