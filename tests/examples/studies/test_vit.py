import pytest

from examples.studies.vit import STUDY
from tests.examples.arms import build, check_learns, count, random_images


@pytest.mark.parametrize("arm", STUDY.arms)
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def test_average_pooling_saves_the_token_and_its_position():
    token, average = build(STUDY, "class token, 1-D positions"), build(STUDY, "average pooling, 1-D positions")
    assert count(token) - count(average) == 2 * 64


def test_positions_differ_by_their_tables():
    sizes = {arm: count(build(STUDY, arm)) for arm in STUDY.arms if arm.startswith("class token")}
    none = sizes["class token, no positions"]
    tables = {arm.split(", ")[1]: size - none for arm, size in sizes.items()}
    assert tables == {
        "1-D positions": 17 * 64,
        "no positions": 0,
        "2-D positions": 2 * 4 * 32,
        "relative positions": 4 * (2 * 17 - 1) * 16,  # blocks, offsets, channels of a head
    }


def test_without_positions_patches_may_be_swapped():
    model, images = build(STUDY, "class token, no positions"), random_images(STUDY, 1)
    moved = images.copy()
    moved[:, :8, :8], moved[:, 16:24, 8:16] = images[:, 16:24, 8:16], images[:, :8, :8]
    assert model(moved).numpy() == pytest.approx(model(images).numpy(), abs=1e-5)
    placed = build(STUDY, "class token, 1-D positions")
    assert placed(moved).numpy() != pytest.approx(placed(images).numpy(), abs=1e-5)
