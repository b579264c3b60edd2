"""The tables of docs/ that come from the catalogue and the results:  python -m tests.docs.tables [--write]

Prints them; with --write, puts each between its two marks of its page. `tests/docs/test_tables.py` holds the pages
against them.
"""

import sys

from keras_vit.models import FAMILIES, VARIANTS
from keras_vit.weights import catalogue
from tests import readme

END = "<!-- end -->"
LATENCIES = "results/speed/inference.csv"
CHOSEN = {"batch": "1", "ours": "predict_on_batch"}  # rows of it that the families' table shows

# The same architecture; of kecam 1.4.3 counted on PyTorch, where CoaT has more parameters than the published one.
APPLICATIONS = {
    **{"ConvNeXtT": "ConvNeXtTiny", "ConvNeXtS": "ConvNeXtSmall", "ConvNeXtB": "ConvNeXtBase"},
    **{"ConvNeXtL": "ConvNeXtLarge", "ConvNeXtXL": "ConvNeXtXLarge"},
}
KECAM = {
    **{"ViTTi16": "beit.ViTTinyPatch16", "ViTB16": "beit.ViTBasePatch16"},
    **{"ConvNeXtT": "convnext.ConvNeXtTiny", "ConvNeXtS": "convnext.ConvNeXtSmall"},
    **{"ConvNeXtB": "convnext.ConvNeXtBase", "ConvNeXtL": "convnext.ConvNeXtLarge"},
    **{"ConvNeXtXL": "convnext.ConvNeXtXlarge"},
    **{f"CoaTLite{size}": f"coat.CoaTLite{size}" for size in ("Tiny", "Mini", "Small")},
    **{f"CoaT{size}": f"coat.CoaT{size}" for size in ("Tiny", "Mini")},
    **{f"PVTV2B{i}": f"pvt.PVT_V2B{i}" for i in range(6)},
    **{"PVTV2B2Li": "pvt.PVT_V2B2_linear"},
}


def families():
    """A row per public name: parameters, cost, accuracy as published, latency as measured."""
    measured = latencies()
    lines = ["| model | parameters (M) | GMACs | pixels | top-1, % | ms |", "|---|---:|---:|---:|---:|---:|"]
    macs = readme.multiply_adds()
    for variant in (variant for family in FAMILIES for variant in family):
        size, row = variant.image_size[0], readme.default_row(variant)
        size = size if (variant.name, size) in macs else 224
        cells = (
            f"`{variant.name}`",
            f"{variant.parameters / 1e6:.1f}",
            f"{macs[variant.name, size]:.1f}",
            str(size),
            readme.published_top1(row) if row else "",
            measured.get(variant.name, "not measured"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _measured_on(measured)])


def latencies():
    """{public name: milliseconds for one picture, as text}; none before anything was measured."""
    return {row["model"]: f"{float(row['ms']):.0f}" for row in _latency_rows()}


def _latency_rows():
    if not (readme.ROOT / LATENCIES).is_file():
        return []
    return [row for row in readme.rows_of(LATENCIES) if CHOSEN.items() <= row.items()]


def _measured_on(measured):
    """Where the milliseconds come from."""
    if not measured:
        return "No latency has been measured yet."
    machines = "; ".join(dict.fromkeys(row["machine"].partition(", load")[0] for row in _latency_rows()))
    return (
        f"*ms*: median time of `model.predict_on_batch` for one picture, with drawn weights, on {machines} "
        f"(`python -m benchmarks.inference`, `{LATENCIES}`)."
    )


def names():
    """A row per public name: what the same architecture is called elsewhere."""
    lines = [
        "| keras_vit | timm | official repository | keras.applications | kecam |",
        "|---|---|---|---|---|",
    ]
    for variant in VARIANTS.values():
        timm = [row.timm_name.partition(".")[0] for row in catalogue.rows(variant.name) if row.timm_name]
        official = variant.alias if variant.alias not in timm else ""
        cells = (", ".join(map(_code, dict.fromkeys(timm))), official, APPLICATIONS.get(variant.name))
        cells = (f"`{variant.name}`", cells[0], *map(_code, (*cells[1:], KECAM.get(variant.name))))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _code(name):
    return f"`{name}`" if name else ""


PAGES = {"docs/families.md": families, "docs/migrating.md": names}


def begin(page):
    """The mark before the table of a page."""
    return f"<!-- {PAGES[page].__name__}: written by python -m tests.docs.tables --write -->"


def main():
    for page, table in PAGES.items():
        if "--write" not in sys.argv:
            sys.stdout.write(table() + "\n\n")
            continue
        before, rest = (readme.ROOT / page).read_text().split(begin(page))
        text = f"{before}{begin(page)}\n{table()}\n{END}{rest.split(END)[1]}"
        (readme.ROOT / page).write_text(text)


if __name__ == "__main__":
    main()
