"""The tables of README.md and docs/ that come from the catalogue and the results:

    python -m tests.docs.tables [--write]

Prints them; with --write, puts each between its two marks of its page. `tests/docs/test_tables.py` compares the pages
with them.
"""

import sys

from keras_vit.models import FAMILIES, VARIANTS
from keras_vit.weights import catalogue
from tests.docs import formats, published

END = "<!-- end -->"
LATENCIES = "results/speed/inference.csv"
CHOSEN = {"batch": "1", "ours": "predict_on_batch"}  # rows of it that the table of costs shows

NAMES = {  # of the families, by the first of their models
    **{"ViTTi16": "ViT", "ViTRTi16": "hybrid ViT", "DeiTTi": "DeiT, DeiT III", "DINOv2S": "DINOv2", "SwinT": "Swin"},
    **{"ConvNeXtAtto": "ConvNeXt", "CoaTLiteTiny": "CoaT, CoaT-Lite", "TNTTi": "TNT", "T2TViT7": "T2T-ViT"},
    **{"PVTTiny": "PVT", "PVTV2B0": "PVT v2"},
}

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
    """A row per family: its models, and the range of their figures."""
    lines = [
        "| family | models | paper | parameters (M) | top-1, % | weights | licence | parity |",
        "|---|---|---|---:|---:|---:|---|---|",
    ]
    return "\n".join([*lines, *map(_family_line, FAMILIES)])


def _family_line(variants):
    rows = [row for variant in variants for row in catalogue.rows(variant.name)]
    defaults = [row for variant in variants if (row := published.default_row(variant))]
    by_size = sorted(variants, key=lambda variant: variant.parameters)
    accuracies = sorted(filter(None, map(published.top1, defaults)), key=lambda text: float(text.rstrip("*")))
    cells = (
        NAMES[variants[0].name],
        f"{len(variants)}: `{by_size[0].name}` to `{by_size[-1].name}`",
        ", ".join(dict.fromkeys(_paper(variant) for variant in variants)),
        f"{by_size[0].parameters / 1e6:.1f} to {by_size[-1].parameters / 1e6:.1f}",
        f"{accuracies[0]} to {accuracies[-1]}" if accuracies else "no classifier",
        str(len(rows)),
        ", ".join(sorted({row.licence for row in rows})),
        _family_parity(variants),
    )
    return _line(cells)


def _family_parity(variants):
    measured = published.parity()
    found = [measured[variant.name] for variant in variants if variant.name in measured]
    return f"{max(found):.0e} ({len(found)} of {len(variants)})" if found else "not compared"


def models():
    """A row per public name; figures of the default weights where there are any."""
    lines = [
        "| model | paper | parameters (M) | GMACs | top-1, % | weights | licence | parity |",
        "|---|---|---:|---:|---:|---|---|---:|",
    ]
    macs, measured = published.multiply_adds(), published.parity()
    return "\n".join([*lines, *(_model_line(variant, macs, measured) for variant in VARIANTS.values())])


def _model_line(variant, macs, measured):
    rows, row = catalogue.rows(variant.name), published.default_row(variant)
    weights = "none published"
    if row is not None:
        weights = f"`{row.tag}`" + (f" + {len(rows) - 1}" if len(rows) > 1 else "")
    gmacs = macs.get((variant.name, variant.image_size[0])) or macs.get((variant.name, 224))
    cells = (
        f"`{variant.name}`",
        _paper(variant),
        f"{variant.parameters / 1e6:.1f}",
        f"{gmacs:.1f}" if gmacs else "not counted",
        *(published.top1(row) if row else "", weights, row.licence if row else ""),
        f"{measured[variant.name]:.0e}" if variant.name in measured else "not compared",
    )
    return _line(cells)


def _paper(variant):
    return f"[{variant.family.paper}](https://arxiv.org/abs/{variant.family.paper})"


def costs():
    """A row per public name: parameters, cost, accuracy as published, latency as measured."""
    measured = latencies()
    lines = ["| model | parameters (M) | GMACs | pixels | top-1, % | ms |", "|---|---:|---:|---:|---:|---:|"]
    macs = published.multiply_adds()
    for variant in VARIANTS.values():
        size, row = variant.image_size[0], published.default_row(variant)
        size = size if (variant.name, size) in macs else 224
        cells = (
            f"`{variant.name}`",
            f"{variant.parameters / 1e6:.1f}",
            f"{macs[variant.name, size]:.1f}",
            str(size),
            published.top1(row) if row else "",
            measured.get(variant.name, "not measured"),
        )
        lines.append(_line(cells))
    return "\n".join([*lines, "", _measured_on(measured)])


def latencies():
    """{public name: milliseconds for one image, as text}; none before anything was measured."""
    return {row["model"]: f"{float(row['ms']):.0f}" for row in _latency_rows()}


def _latency_rows():
    if not (published.ROOT / LATENCIES).is_file():
        return []
    return [row for row in published.rows_of(LATENCIES) if CHOSEN.items() <= row.items()]


def _measured_on(measured):
    """Where the milliseconds come from."""
    if not measured:
        return "No latency has been measured yet."
    machines = "; ".join(dict.fromkeys(row["machine"].partition(", load")[0] for row in _latency_rows()))
    return (
        f"*ms*: median time of `model.predict_on_batch` for one image, with random weights, on {machines}\n"
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
        lines.append(_line((f"`{variant.name}`", cells[0], *map(_code, (*cells[1:], KECAM.get(variant.name))))))
    return "\n".join(lines)


def int8_trained():
    """A row per file made of a trained model: the cosine with the float one."""
    lines = ["| file | rewrites | mean | 5th percentile | smallest | size |", "|---|---|---:|---:|---:|---:|"]
    for row in published.rows_of("results/int8_trained.csv"):
        dynamic = f"; {', '.join(map(_code, row['dynamic_layers'].split()))} dynamic" if row["dynamic_layers"] else ""
        figures = (row["mean"], row["percentile_5"], row["smallest"], f"{float(row['of_float_size']):.1%}")
        lines.append(_line((_code(row["quantization"]), row["rewrites"] + dynamic, *figures)))
    return "\n".join(lines)


def _code(name):
    return f"`{name}`" if name else ""


def _line(cells):
    return f"| {' | '.join(cells)} |"


PAGES = {
    "README.md": families,
    "docs/models.md": models,
    "docs/families.md": costs,
    "docs/migrating.md": names,
    "docs/formats.md": formats.kinds,
    "docs/edge.md": int8_trained,
}


def begin(page):
    """The mark before the table of a page."""
    return f"<!-- {PAGES[page].__name__}: written by python -m tests.docs.tables --write -->"


def main():
    for page, table in PAGES.items():
        if "--write" not in sys.argv:
            sys.stdout.write(table() + "\n\n")
            continue
        before, rest = (published.ROOT / page).read_text(encoding="utf-8").split(begin(page))
        text = f"{before}{begin(page)}\n{table()}\n{END}{rest.split(END, 1)[1]}"
        (published.ROOT / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
