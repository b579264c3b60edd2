"""No way through the library sees an image otherwise than Pillow does."""

import pytest

from tests.docs import formats
from tests.images_of_all_kinds import images

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF
OURS = ("train", "predict, validate", "serve, page", "`example.py`")


def test_there_are_enough_images_of_every_kind():
    _, found = formats.rows()
    assert len(images()) >= 150 and all(any(counts) for counts in found.values())
    assert sum(sum(counts[0].values()) for counts in found.values()) == len(images())


@pytest.mark.parametrize("kind", formats.KINDS)
def test_an_image_is_seen_as_pillow_sees_it_or_refused(kind):
    ways, found = formats.rows()
    for way, counts in zip(ways, found[kind]):
        if way in OURS:
            in_graphs = kind == "JPEG, CMYK with black" and way in ("train", "serve, page")
            right = formats.OFF_BY_ONE if in_graphs else formats.RIGHT
            assert len(counts) == 1 and set(counts) <= {right, formats.REFUSED}, way


def test_what_pillow_reads_is_refused_by_graphs_alone():
    ways, found = formats.rows()
    for kind, counts in found.items():
        refused = [way for way, seen in zip(ways, counts) if way in OURS and formats.REFUSED in seen]
        unknown = kind.startswith(("TIFF with 32", "BMP, masks in an order"))
        assert refused == list(OURS) if unknown else set(refused) <= {"serve, page"}


@pytest.mark.parametrize("way", formats.MEASURED)
def test_every_image_was_tried_where_it_was_measured(way):
    measured = formats.MEASURED[way].read_text(encoding="utf-8").splitlines()[1:]
    assert [line.partition(",")[0] for line in measured] == sorted(images())
