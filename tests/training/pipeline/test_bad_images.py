import json
from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline.bad_images import Quarantine, TooManyBadImages


@pytest.fixture
def split(tmp_path):
    names = tuple(str(tmp_path / f"{i}.png") for i in range(6))
    Path(names[2]).write_bytes(b"no image")
    return Split(names, np.zeros(6, "int32"))


def test_the_replacement_is_the_next_good_image_and_after_the_last_the_first(split):
    quarantine = Quarantine(split, 0.7)
    quarantine.record_all([2, 3, 5])
    assert list(quarantine.index_map()) == [0, 1, 4, 4, 4, 0]
    assert list(quarantine.good_indices()) == [0, 1, 4]
    assert [file for file, _ in quarantine.bad] == [split.names[i] for i in (2, 3, 5)]
    assert quarantine.replaced[2][1].endswith(f"{split.names[0]} takes its place")


def test_reasons_name_the_file_and_what_is_wrong_with_it(split):
    quarantine = Quarantine(split, 0.7)
    assert quarantine.record(np.int64(2), np.int64(3)) == 3 and quarantine.record(1, 3).dtype == "int64"
    (_, broken), (_, missing) = quarantine.bad
    assert broken.startswith(f"{split.names[2]} cannot be read as an image") and "No such file" in missing


def test_reasons_of_images_in_memory_are_the_same_every_time():
    split = Split(("a/1.png", "a/2.png"), np.zeros(2, "int32"), (b"no image", b"neither"))
    quarantine = Quarantine(split, 0.7)
    quarantine.record(0, 1)
    text = "a/1.png cannot be read as an image: cannot identify image file a/1.png"
    assert quarantine.bad == (("a/1.png", text),)


def test_an_image_is_recorded_once(split):
    quarantine = Quarantine(split, 0.2)
    for _ in range(3):
        quarantine.record(4, 5)
    quarantine.check()
    assert len(quarantine.bad) == 1


def test_the_state_restores_the_bad_images_found_earlier(split):
    before, after = Quarantine(split, 0.7), Quarantine(split, 0.7)
    before.record_all([2, 3])
    after.record(5, 0)
    after.load_state(json.loads(json.dumps(before.state())))
    assert list(after.index_map()) == [0, 1, 4, 4, 4, 0] and after.bad[:2] == before.bad


def test_too_many_bad_images_are_an_error_that_lists_them(split):
    quarantine = Quarantine(split, 0.2)
    with pytest.raises(
        TooManyBadImages, match="2 of 6 images cannot be decoded, more than max_bad_fraction=0.2"
    ) as info:
        quarantine.record_all([0, 2])
    assert info.value.bad == quarantine.bad and len(info.value.bad) == 2
    with pytest.raises(TooManyBadImages, match="6 of 6 [\\s\\S]*and 1 more"):
        Quarantine(split, 0.9).record_all(range(6))
