from examples import growing_sizes
from examples.digits import FAMILIES
from keras_vit.training.pipeline.sizes import parse_schedule

FACTS = {"parameters": 1, "epochs": 25, "top1": 99.0, "seconds": 60.0}


def test_the_schedules_end_at_the_size_of_the_family():
    assert {small.img_size for small in FAMILIES.values()} == set(growing_sizes.SCHEDULES)
    for side, schedule in growing_sizes.SCHEDULES.items():
        assert parse_schedule(schedule)[-1][0] == (side, side)


def test_both_trainings_differ_in_the_schedule_alone(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(
        growing_sizes,
        "train_on_digits",
        lambda variant, folder, **settings: trained.append((folder, settings)) or FACTS,
    )
    rows = growing_sizes.train_both("Swin", 2, tmp_path)
    (plain, settings), (growing, others) = trained
    assert plain != growing and plain.name == growing.name
    assert others == settings | {"img_size_schedule": "16@0,32@0.5"} and settings["img_size"] == (32, 32)
    assert [(row["sizes"], row["seed"]) for row in rows] == [("32", 2), ("16@0,32@0.5", 2)]


def test_the_table_has_a_line_per_family_and_sizes():
    row = {"family": "Swin", "sizes": "32", "seed": 0} | FACTS
    rows = [row, row | {"sizes": "16@0,32@0.5"}, row | {"seed": 1, "top1": 98.0, "seconds": 40.0}]
    assert growing_sizes.table(rows).splitlines()[2:] == [
        "| Swin | 32 | 25 | 0, 1 | 98.50 | 98.00 - 99.00 | 50 |",
        "| Swin | 16@0,32@0.5 | 25 | 0 | 99.00 |  | 60 |",
    ]
