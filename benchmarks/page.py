"""The tables of docs/speed.md, from results/speed:  python -m benchmarks.page [--write]

Prints them; with --write, writes them into the page. `tests/test_speed_page.py` compares the page with the files.
"""

import csv
import math
import pathlib
import sys

from benchmarks.report import NOT_MEASURED

ROOT = pathlib.Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "speed.md", ROOT / "results" / "speed"
BEGIN, END = "<!-- {}: begin, written by python -m benchmarks.page -->", "<!-- {}: end -->"
TIMM, KERAS = "timm", ("keras.applications", "keras-hub", "kecam")


def rows_of(name):
    """The rows of results/speed/NAME.csv, with numbers as floats; none if there is no file."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def _value(text):
    try:
        return float(text)
    except ValueError:
        return text


def select(rows, **values):
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def against_best(rows, *case):
    """{case: ratio to the fastest of timm's modes}, for each model (and batch, and mode of ours)."""
    best = {}
    for row in (row for row in rows if row["against"].startswith(TIMM)):
        key = tuple(row[name] for name in case)
        best[key] = max(best.get(key, 0.0), row["ratio"])
    return best


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def table(header, lines):
    """A Markdown table whose columns but the first are numbers; a sentence if there are no lines."""
    if not lines:
        return "Not measured yet."
    cells = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def targets():
    """The targets and the measurements."""
    lines = []

    def every(what, peer, limit, ratios):
        met = sum(ratio <= limit for ratio in ratios)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else NOT_MEASURED
        lines.append([what, peer, f"≤ {limit} each", spread, f"{met} of {len(ratios)}" if ratios else ""])

    def mean(what, peer, limit, ratios):
        found = f"{geometric_mean(ratios):.2f}" if ratios else NOT_MEASURED
        reached = ("yes" if geometric_mean(ratios) <= limit else "no") if ratios else ""
        lines.append([what, peer, f"≤ {limit} on average", found, reached])

    inference, training, edge = rows_of("inference"), rows_of("training_step"), rows_of("edge")
    for way in ("predict_on_batch", "SavedModel"):
        rows = select(inference, ours=way)
        every(f"inference, {way}", "timm, its fastest way", 0.7, list(against_best(rows, "model", "batch").values()))
        mean(f"inference, {way}", "ONNX Runtime", 1.0, [r["ratio"] for r in select(rows, against="ONNX Runtime")])
        every(f"inference, {way}", "other Keras libraries", 0.7, [r["ratio"] for r in rows if r["against"] in KERAS])
    for ours, peer, limit in (
        ("tflite none", "ONNX Runtime float32", 0.85),
        ("tflite none", "OpenVINO float32", 1.0),
        ("tflite dynamic_int8", "OpenVINO bfloat16", 1.0),
    ):
        rows = select(edge, ours=ours, against=peer, threads=2.0)
        mean(ours.replace("none", "float32"), peer, limit, [r["ratio"] for r in rows])
    every("training step", "timm, its faster way", 0.7, list(against_best(training, "model").values()))
    memory = [r["ratio"] for r in rows_of("training_memory") if r["ratio"] != NOT_MEASURED]
    every("training step, memory", "timm eager", 1.0, memory)
    two = [1 / r["ratio"] for r in select(training, against="trainer, 2 replicas")]
    every("training step, two replicas", "one replica", 1.15, two)
    loaded = [1 / r["ratio"] for r in rows_of("input_pipeline") if r["ratio"] != NOT_MEASURED]  # of images a second
    every("input pipeline, time per image", "timm's loader", 0.67, loaded)
    mean("GPU, inference and training, bfloat16", "timm compiled", 1.0, [r["ratio"] for r in rows_of("gpu")])
    return table(["ours", "against", "target", "measured", "reached"], lines)


def inference():
    """Milliseconds of ours, and ratios, by model and batch."""
    rows, lines = rows_of("inference"), []
    for way in ("predict_on_batch", "SavedModel"):
        best = against_best(select(rows, ours=way), "model", "batch")
        for model, batch in dict.fromkeys((r["model"], r["batch"]) for r in rows):
            own = select(rows, ours=way, model=model, batch=batch)
            onnx = [f"{r['ratio']:.2f}" for r in select(own, against="ONNX Runtime")]
            keras = [f"{r['against']} {r['ratio']:.2f}" for r in own if r["against"] in KERAS]
            timm = f"{best[model, batch]:.2f}" if (model, batch) in best else "has none"
            known = [r["ms"] for r in own] + [r["its_ms"] for r in select(rows, against=way, model=model, batch=batch)]
            lines.append([f"`{model}`", way, f"{batch:.0f}", f"{known[0]:.0f}" if known else NOT_MEASURED])
            lines[-1] += [timm, *(onnx or ["has none"]), ", ".join(keras)]
    return table(["model", "way", "batch", "ms", "timm's best", "ONNX Runtime", "other Keras libraries"], lines)


def training():
    """Milliseconds and MiB of the trainer's step, and ratios."""
    rows, lines = rows_of("training_step"), []
    best = against_best(rows, "model")
    memory = {row["model"]: row for row in rows_of("training_memory")}
    for model in dict.fromkeys([*memory, *(r["model"] for r in rows)]):
        time = _time({r["against"]: r for r in select(rows, model=model)}, best.get((model,)))
        lines.append([f"`{model}`", *time, *_memory(memory.get(model))])
    return table(["model", "ms", "timm's best", "two replicas / one", "MiB", "timm eager"], lines)


def _time(rows, to_best):
    """Milliseconds of ours, its ratio to timm's best, and that of two replicas to one; `rows` by their peer."""
    if not rows:
        return [NOT_MEASURED] * 3
    two = rows["trainer, 2 replicas"]
    return [f"{two['ms']:.0f}", "has none" if to_best is None else f"{to_best:.2f}", f"{1 / two['ratio']:.2f}"]


def _memory(row):
    """MiB of ours, and its ratio to timm's."""
    if row is None:
        return [NOT_MEASURED, NOT_MEASURED]
    return [f"{row['MiB']:.0f}", "has none" if row["ratio"] == NOT_MEASURED else f"{row['ratio']:.2f}"]


def edge():
    """Ratios of the .tflite files with two threads."""
    rows, lines = rows_of("edge"), []
    peers = ("ONNX Runtime float32", "OpenVINO float32", "OpenVINO bfloat16")
    for model, threads, ours in dict.fromkeys((r["model"], r["threads"], r["ours"]) for r in rows):
        own = {r["against"]: r for r in select(rows, model=model, threads=threads, ours=ours)}
        ratios = [f"{own[peer]['ratio']:.2f}" if peer in own else "has none" for peer in peers]
        row = next(iter(own.values()))
        cells = [f"`{model}`", ours.removeprefix("tflite ").replace("none", "float32"), f"{threads:.0f}"]
        lines.append([*cells, f"{row['ms']:.1f}", *ratios, row["delegated"]])
    return table(["model", "file", "threads", "ms", *peers, "operators in XNNPACK"], lines)


def growth():
    lines = [
        [f"`{r['model']}`", r["against"], r["at"], r["ms"], f"{r['time_exponent']:.2f}", r["GiB"]]
        + [f"{r['memory_exponent']:.2f}"]
        for r in rows_of("growth")
    ]
    return table(["model", "against", "at", "ms", "exponent", "GiB", "exponent"], lines)


def profile():
    lines = [
        [f"`{r['model']}`", f"{r['ms']:.0f}", f"{100 * r['of_peak']:.0f} %", r["operators"]] for r in rows_of("profile")
    ]
    return table(["model", "ms, batch 16", "of the peak", "operators"], lines)


def predict_folder():
    lines = [
        [f"`{r['model']}`", f"{r['images']:,.0f}", f"{r['bare_per_s']:.1f}", f"{r['folder_per_s']:.1f}"]
        + [f"{r['ratio']:.2f}", f"{r['GiB_before']:.2f}", f"{r['GiB_peak']:.2f}"]
        for r in rows_of("predict_folder")
    ]
    return table(["model", "images", "bare, images/s", "folder", "ratio", "GiB before", "GiB, peak"], lines)


def startup():
    lines = [
        [r["what"], f"{r['seconds']:.2f}", r["against"], f"{r['budget_s']:.2f}", f"{r['ratio']:.2f}"]
        for r in rows_of("startup")
    ]
    return table(["what", "seconds", "against", "its seconds", "ratio"], lines)


SECTIONS = (targets, inference, training, edge, growth, profile, predict_folder, startup)


def filled(text):
    """The page's text with current tables."""
    for section in SECTIONS:
        begin, end = BEGIN.format(section.__name__), END.format(section.__name__)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{section()}\n{end}{rest.split(end)[1]}"
    return text


def main():
    if "--write" in sys.argv:
        PAGE.write_text(filled(PAGE.read_text()))
    else:
        sys.stdout.write("\n\n".join(section() for section in SECTIONS) + "\n")


if __name__ == "__main__":
    main()
