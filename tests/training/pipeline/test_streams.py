from keras_vit.training.pipeline.sizes import sizes_of
from keras_vit.training.pipeline.streams import Streams
from tests.training.toy import recipe


def taken(start=0, micro_batches=1, **changes):
    """(micro-batches of each step, (size, step) of each stream that was begun, those that are still open)."""
    sizes, begun = sizes_of(recipe(epochs=2, **changes), (8, 8), 10), []

    def begin(size, first):
        begun.append((size, first))
        return iter([(size, step, i) for step in sizes.steps(size) if step >= first for i in range(micro_batches)])

    streams = Streams(sizes, begin, micro_batches)
    return [streams.take(step) for step in range(start, 20)], begun, set(streams.open)


def test_a_step_takes_all_its_micro_batches_from_the_stream_of_its_size():
    found, begun, _ = taken(micro_batches=2, img_size_schedule="4@0,8@0.5")
    assert found == [tuple(((4, 4) if step < 10 else (8, 8), step, i) for i in (0, 1)) for step in range(20)]
    assert begun == [((4, 4), 0), ((8, 8), 10)]


def test_drawn_sizes_have_a_stream_each_and_any_first_step_goes_on_as_the_whole():
    whole, begun, _ = taken(multi_scale="4,6,8")
    assert sorted(size for size, _ in begun) == [(4, 4), (6, 6), (8, 8)]
    assert [step for ((_, step, _),) in whole] == list(range(20))
    assert taken(7, multi_scale="4,6,8")[0] == whole[7:]


def test_a_stream_that_is_used_up_is_dropped_when_the_next_begins():
    assert taken(img_size_schedule="4@0,6@0.3,8@0.5")[2] == {(8, 8)}
    _, begun, still_open = taken(img_size_schedule="8@0,4@0.3,8@0.5")
    assert begun == [((8, 8), 0), ((4, 4), 6)] and still_open == {(8, 8), (4, 4)}  # the first goes on
