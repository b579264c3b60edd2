import pytest

from keras_vit.images.stored import Chain, StoredImages


def test_images_are_made_when_they_are_asked_for():
    read = []
    images = StoredImages(("a", "b", "c"), lambda number: read.append(number) or b"png")
    assert [str(image) for image in images] == ["a", "b", "c"] and read == []
    assert images[1].read() == b"png" and read == [1]


def test_a_chain_is_its_sequences_one_behind_the_other():
    parts = [(), ("a", "b"), [], ["c"], ("d", "e", "f")]
    chain = Chain(parts)
    assert len(chain) == 6 and list(chain) == list("abcdef")
    assert [chain[index] for index in (5, 2, 0)] == ["f", "c", "a"]
    for index in (6, -1):
        with pytest.raises(IndexError):
            chain[index]
    assert list(Chain([])) == []
