"""The tables of the pages are what the catalogue and the results say."""

import keras
import pytest

from keras_vit.models import FAMILIES, VARIANTS
from keras_vit.sources.registry import lookup
from keras_vit.weights import catalogue
from tests.docs import published, tables


@pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF, in the table of formats
@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_current(page):
    text = (published.ROOT / page).read_text()
    found = text.split(tables.begin(page))[1].split(tables.END)[0].strip()
    assert found == tables.PAGES[page](), "run: python -m tests.docs.tables --write"


def test_every_model_has_its_row():
    for table in (tables.models, tables.costs, tables.names):
        assert [line.split("`")[1] for line in table().splitlines() if line.startswith("| `")] == list(VARIANTS)


def test_every_family_has_its_row():
    rows = tables.families().splitlines()[2:]
    assert len(rows) == len(FAMILIES)
    assert sum(int(row.split("|")[2].partition(":")[0]) for row in rows) == len(VARIANTS)
    assert sum(int(row.split("|")[6]) for row in rows) == len(catalogue.rows())


def test_names_stand_for_the_models_beside_them():
    for line in tables.names().splitlines()[2:]:
        ours, *others = (cell.strip() for cell in line.strip("|").split("|"))
        for name in ", ".join(others[:2]).replace("`", "").split(", "):
            assert not name or lookup(name)[0].name == ours.strip("`")


def test_keras_has_the_names_that_are_said_to_be_its():
    for ours, theirs in tables.APPLICATIONS.items():
        assert hasattr(keras.applications, theirs) and ours in VARIANTS
    assert set(tables.KECAM) <= set(VARIANTS)


def test_latencies_are_those_of_one_image(tmp_path, monkeypatch):
    (tmp_path / tables.LATENCIES).parent.mkdir(parents=True)
    rows = (
        "SwinT,1,predict_on_batch,41.6,two cores",
        "SwinT,16,predict_on_batch,500,two cores",
        "SwinT,1,predict,50,x",
    )
    text = "\n".join(("model,batch,ours,ms,machine", *rows))
    (tmp_path / tables.LATENCIES).write_text(text)
    monkeypatch.setattr(published, "ROOT", tmp_path)
    assert tables.latencies() == {"SwinT": "42"}


def test_files_of_the_trained_model_have_a_row_each():
    rows = published.rows_of("results/int8_trained.csv")
    lines = tables.int8_trained().splitlines()[2:]
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines):
        assert row["mean"] in line and row["quantization"] in line
