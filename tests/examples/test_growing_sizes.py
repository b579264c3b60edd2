from examples import fashion_mnist, growing_sizes
from keras_vit.training.pipeline.sizes import parse_schedule


def test_the_schedules_end_at_the_size_of_the_plain_trainings():
    assert fashion_mnist.RECIPE.img_size == (int(growing_sizes.SIZE),) * 2
    for schedule in growing_sizes.SCHEDULES:
        assert parse_schedule(schedule)[-1][0] == fashion_mnist.RECIPE.img_size


def test_trainings_differ_in_the_schedule_alone(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(growing_sizes, "train", lambda *args: trained.append(args) or {"top1": 90.123})
    monkeypatch.setattr(growing_sizes, "read_entries", lambda path: {"train_seconds": 60.0})
    rows = [growing_sizes.train_over(sizes, 2, tmp_path, tmp_path) for sizes in ("28", "20@0,28@0.5")]
    (plain, folder), (growing, other) = trained
    differing = {name for name, value in plain.settings().items() if growing.settings()[name] != value}
    assert differing == {"img_size", "img_size_schedule"} and folder != other
    assert rows[1] == {"sizes": "20@0,28@0.5", "seed": 2, "top1": 90.12, "seconds": 60.0}
