"""Tables of trainings: a row per training in CSV files, a line per arm in Markdown."""

import csv
import statistics

from keras_vit.system.files import atomic_file


def markdown(rows, by, columns):
    """Rows as a Markdown table, a line per arm: of each column the mean over the seeds, and lowest - highest.

    Args:
        rows: dictionaries with "seed"; numbers may be texts, as they are in a CSV file.
        by: names of the columns that tell arms apart.
        columns: {name of a column of numbers: its heading}.
    """
    headings = [*(name if len(by) > 1 else "" for name in by), "seeds", *columns.values()]
    lines = [f"| {' | '.join(headings)} |", "|---" * (len(by) + 1) + "|" + "---:|" * len(columns)]
    for arm in dict.fromkeys(tuple(row[name] for name in by) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in by) == arm]
        seeds = ", ".join(str(row["seed"]) for row in own)
        cells = [mean_and_range([row[name] for row in own]) for name in columns]
        lines.append(f"| {' | '.join([*arm, seeds, *cells])} |")
    return "\n".join(lines)


def mean_and_range(values):
    """A cell: the mean, whole if all values are, else with two decimals, and the range of values that differ."""
    values = [float(value) if "." in str(value) else int(value) for value in values]
    text = "{:,.0f}" if all(isinstance(value, int) for value in values) else "{:,.2f}"
    mean, low, high = map(text.format, (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} - {high})"


def read(path):
    """The rows of a CSV file as dictionaries of texts; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(rows, path):
    """Write dictionaries as CSV."""
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
