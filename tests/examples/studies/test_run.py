import collections

import pytest

from examples import tables
from examples.studies import run
from examples.studies.study import Study
from tests.examples.toys import SWIN, VIT

ROOT = run.PAGE.parents[1]
ROWS = tables.read(ROOT / "results" / "studies.csv")
PAGE = run.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", run.STUDIES)
def test_page_holds_the_table_of_the_results(name):
    study = run.STUDIES[name]
    expected = run.table(study, ROWS)
    found = run.table_on(PAGE, study)
    assert found == expected, "run: python -m examples.studies --write --csv results/studies.csv"


def test_results_are_of_the_current_models():
    for row in ROWS:
        study = run.STUDIES[row["study"]]
        shape = (study.img_size, study.img_size, 3)
        if row["seed"] == "0":
            model = study.arms[row["arm"]](weights=None, input_shape=shape, classes=10)
            assert model.count_params() == int(row["parameters"])
        assert int(row["epochs"]) == run.SETTINGS["epochs"]


def test_within_a_study_all_arms_were_run_with_the_same_seeds():
    seeds = collections.defaultdict(set)
    for row in ROWS:
        seeds[row["study"], row["arm"]].add(row["seed"])
    for name, study in run.STUDIES.items():
        assert len({frozenset(seeds[name, arm]) for arm in study.arms}) == 1


def test_names_of_variants_are_unique():
    names = [variant.name for study in run.STUDIES.values() for variant in study.arms.values()]
    assert len(names) == len(set(names))


@pytest.fixture
def toy(monkeypatch):
    """A study of two arms, with a stub for training."""
    study = Study("toy", "A toy", "nowhere", {"one": VIT, "other": SWIN}, img_size=16)

    def train(variant, folder, *, seed, **settings):
        assert settings == {"img_size": (16, 16), **run.SETTINGS}
        folder.mkdir(parents=True, exist_ok=True)
        return {"parameters": len(variant.name), "epochs": settings["epochs"], "top1": 90.0 + seed, "val_top1": 80.0}

    monkeypatch.setattr(run, "STUDIES", {"toy": study})
    monkeypatch.setattr(run, "train_small", train)
    return study


def test_a_study_is_trained_and_continued_with_more_seeds(tmp_path, toy):
    path = tmp_path / "rows.csv"
    first, _ = run.train_studies(["toy"], [4], tmp_path, path)
    rows = run.train_studies(["toy"], [3], tmp_path, path)
    assert [(row["arm"], int(row["seed"])) for row in rows] == [("one", 3), ("one", 4), ("other", 3), ("other", 4)]
    assert {name: str(value) for name, value in first.items()} == tables.read(path)[1]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        f"{name}-{seed}" for name in ("toy_vit", "toy_swin") for seed in (3, 4)
    }


def test_table_and_page(toy):
    row = {"study": "toy", "arm": "one", "parameters": "1234", "epochs": "5", "val_top1": "90.0"}
    rows = [row | {"seed": "0", "top1": "80.0"}, row | {"seed": "1", "top1": "81.0"}]
    *_, line = run.table(toy, rows).splitlines()
    assert line == "| one | 0, 1 | 1,234 | 5 | 80.50 (80.00 - 81.00) | 90.00 |"
    page = run.with_tables("# Title\n<!-- toy -->\nold\n<!-- end -->\ntext\n", rows)
    assert page == f"# Title\n<!-- toy -->\n{run.table(toy, rows)}\n<!-- end -->\ntext\n"
