"""The papers' ablations on the 1,797 handwritten digits, a table each.

    python -m examples.studies --output runs/studies --csv results/studies.csv            (all, with three seeds)
    python -m examples.studies swin convnext --output runs/studies --seeds 0 1 2 --csv results/studies.csv
    python -m examples.studies --table --csv results/studies.csv                          (trains nothing)
    python -m examples.studies --write --csv results/studies.csv                          (into docs/studies.md)

Every model has a few hundred thousand parameters at most and is trained with the quickstart's recipe, with the same
changes (`SETTINGS`) for all. The best epoch is chosen on 180 validation digits; the 360 test digits are used once. The
same command continues where it was stopped, and adds seeds to the CSV file.
"""

import argparse
from pathlib import Path

import keras

from examples import tables
from examples.small_runs import train_small
from examples.studies import coat, convnext, swin, t2t, tnt, vit

STUDIES = {study.STUDY.name: study.STUDY for study in (vit, swin, tnt, t2t, coat, convnext)}
SETTINGS = {"epochs": 15, "lr": 2e-3, "warmup_epochs": 1, "shift": 0.0, "rotate": 0.0, "zoom": 0.0}  # upright images
COLUMNS = {"parameters": "parameters", "epochs": "epochs", "top1": "test, %", "val_top1": "validation, %"}
PAGE = Path(__file__).parents[2] / "docs" / "studies.md"


def train_studies(names, seeds, output, csv_path=None):
    """Train every arm of the studies with every seed, seed by seed; all rows, those of the file included."""
    rows = {key(row): row for row in (tables.read(csv_path) if csv_path else [])}
    for seed in seeds:
        for name in names:
            for arm in STUDIES[name].arms:
                row = train_arm(STUDIES[name], arm, seed, output)
                rows[key(row)] = row
                if csv_path:
                    tables.write(ordered(rows.values()), csv_path)
    return ordered(rows.values())


def train_arm(study, arm, seed, output):
    """Train one arm below `output`, or continue its run; its row."""
    variant, side = study.arms[arm], study.img_size
    keras.utils.clear_session(free_memory=True)
    facts = train_small(variant, output / f"{variant.snake_name}-{seed}", img_size=(side, side), seed=seed, **SETTINGS)
    return {"study": study.name, "arm": arm, "seed": seed, **facts}


def key(row):
    """The identity of a row."""
    return row["study"], row["arm"], int(row["seed"])


def ordered(rows):
    """Rows by study, by arm as the study lists them, by seed."""
    places = [(name, arm) for name, study in STUDIES.items() for arm in study.arms]
    return sorted(rows, key=lambda row: (places.index(key(row)[:2]), key(row)[2]))


def table(study, rows):
    """A study's rows as a Markdown table, a line per arm."""
    return tables.markdown([row for row in rows if row["study"] == study.name], ("arm",), COLUMNS)


def markers(study):
    """The markers before and after the study's table on the page."""
    return f"<!-- {study.name} -->\n", "\n<!-- end -->"


def table_on(page, study):
    """The study's table in the text of the page."""
    begin, end = markers(study)
    return page.split(begin)[1].split(end)[0]


def with_tables(page, rows):
    """The text of the page with new tables."""
    for study in STUDIES.values():
        (begin, end), old = markers(study), table_on(page, study)
        page = page.replace(begin + old + end, begin + table(study, rows) + end)
    return page


def options():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="STUDY", help=f"one of {', '.join(STUDIES)} (default: all)")
    parser.add_argument("--output", type=Path, default=Path("runs/studies"), help="folder of the run folders")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path, help="file of the rows; new ones are added")
    parser.add_argument("--table", action="store_true", help="print the tables of the file, train nothing")
    parser.add_argument("--write", action="store_true", help="put the tables of the file on the page, train nothing")
    parsed = parser.parse_args()
    if unknown := [name for name in parsed.names if name not in STUDIES]:
        parser.error(f"unknown study {', '.join(unknown)}; expected {', '.join(STUDIES)}")
    if (parsed.table or parsed.write) and not parsed.csv:
        parser.error("--table and --write need --csv, the file of the rows")
    return parsed


def main():
    parsed = options()
    names = parsed.names or list(STUDIES)
    if parsed.write:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables.read(parsed.csv)), encoding="utf-8")
        return
    rows = tables.read(parsed.csv) if parsed.table else train_studies(names, parsed.seeds, parsed.output, parsed.csv)
    for name in names:
        print(f"\n{STUDIES[name].title} ({STUDIES[name].source})\n\n{table(STUDIES[name], rows)}")
