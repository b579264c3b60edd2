import json
from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.parts import Part
from keras_vit.training.quarantine import BadPictures, Quarantine


@pytest.fixture
def part(tmp_path):
    names = tuple(str(tmp_path / f"{i}.png") for i in range(6))
    Path(names[2]).write_bytes(b"no picture")
    return Part(names, np.zeros(6, "int32"))


def test_the_next_good_picture_takes_the_place_and_after_the_last_the_first(part):
    quarantine = Quarantine(part, 0.7)
    quarantine.note_all([2, 3, 5])
    assert list(quarantine.shown()) == [0, 1, 4, 4, 4, 0]
    assert list(quarantine.good()) == [0, 1, 4]
    assert [file for file, _ in quarantine.bad] == [part.names[i] for i in (2, 3, 5)]
    assert quarantine.replaced[2][1].endswith(f"{part.names[0]} takes its place")


def test_reasons_name_the_file_and_what_is_wrong_with_it(part):
    quarantine = Quarantine(part, 0.7)
    assert quarantine.note(np.int64(2), np.int64(3)) == 3 and quarantine.note(1, 3).dtype == "int64"
    (_, broken), (_, missing) = quarantine.bad
    assert broken.startswith(f"{part.names[2]} cannot be read as a picture") and "No such file" in missing


def test_reasons_of_pictures_in_memory_are_the_same_every_time():
    part = Part(("a/1.png", "a/2.png"), np.zeros(2, "int32"), (b"no picture", b"neither"))
    quarantine = Quarantine(part, 0.7)
    quarantine.note(0, 1)
    text = "a/1.png cannot be read as a picture: cannot identify image file a/1.png"
    assert quarantine.bad == (("a/1.png", text),)


def test_a_picture_is_noted_once(part):
    quarantine = Quarantine(part, 0.2)
    for _ in range(3):
        quarantine.note(4, 5)
    quarantine.check()
    assert len(quarantine.bad) == 1


def test_what_was_met_before_is_taken_up(part):
    before, after = Quarantine(part, 0.7), Quarantine(part, 0.7)
    before.note_all([2, 3])
    after.note(5, 0)
    after.take_up(json.loads(json.dumps(before.state())))
    assert list(after.shown()) == [0, 1, 4, 4, 4, 0] and after.bad[:2] == before.bad


def test_too_many_are_refused_and_listed(part):
    quarantine = Quarantine(part, 0.2)
    with pytest.raises(BadPictures, match="2 of 6 pictures cannot be decoded, more than max_bad_fraction=0.2") as info:
        quarantine.note_all([0, 2])
    assert info.value.bad == quarantine.bad and len(info.value.bad) == 2
    with pytest.raises(BadPictures, match="6 of 6 [\\s\\S]*and 1 more"):
        Quarantine(part, 0.9).note_all(range(6))
