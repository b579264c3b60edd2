"""A page that shows models side by side: a column each, a row for each kind of figure. Plain HTML, nothing fetched."""

from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light; --ink: #1d2329; --soft: #56616c; --line: #d9dee3; --bar: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(0.8rem, 3vw, 2.5rem) 4rem; max-width: 110rem; color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 0.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 0; padding-top: 1rem; border-top: 3px solid var(--ink);
  overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0; }
p { margin: 0.2rem 0 0.8rem; max-width: 48rem; color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0; list-style: none; }
a { color: #005a8c; }
.models { display: grid; grid-template-columns: repeat(var(--columns), minmax(15rem, 1fr)); gap: 1rem;
  overflow-x: auto; align-items: start; }
figure { margin: 0; padding: 0.7rem; border: 1px solid var(--line); border-radius: 6px; min-width: 0; }
figure > strong { display: block; margin-bottom: 0.4rem; overflow-wrap: anywhere; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure img.seen { width: min(100%, 14rem); }
figure img.small { image-rendering: pixelated; }
figcaption { color: var(--soft); font-size: 0.92rem; margin-top: 0.4rem; overflow-wrap: anywhere; }
figure ol { margin: 0.6rem auto 0; max-width: 30rem; padding: 0; list-style: none; font-size: 0.95rem; }
figure li { display: grid; grid-template-columns: 1fr auto; gap: 0 0.8rem; margin-top: 0.25rem; }
figure li span:first-child { overflow-wrap: anywhere; }
figure li i { grid-column: 1 / -1; height: 0.35rem; background: var(--bar); border-radius: 2px; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0.1rem 0.9rem; margin: 0; font-size: 0.95rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; padding: 0; list-style: none; font-size: 0.92rem; }
.legend i { display: inline-block; width: 7rem; height: 0.8rem; vertical-align: -0.05rem; margin: 0 0.4rem;
  border: 1px solid var(--line); }
@media (max-width: 46rem) { .models { grid-template-columns: minmax(0, 1fr); } }
"""
LEGEND = (  # low end, colours of viridis, cividis and PuOr, high end
    ("0", "#440154, #3b528b, #21918c, #5ec962, #fde725", "most: relevance, attention; similarity from −1 to 1"),
    ("0", "#00224e, #434e6c, #7d7c78, #bcae6c, #fee838", "most: receptive field"),
    ("negative", "#7f3b08, #e08214, #f7f7f7, #8073ac, #2d004b", "positive: position bias"),
)


@dataclass(frozen=True)
class Cell:
    """The content of a row for one model: a figure, facts, scores, or only a note on why it has none."""

    file: str | None = None  # relative to the page
    size: tuple[int, int] = (0, 0)  # of the file, width and height in pixels
    alt: str = ""
    note: str = ""
    scores: tuple[tuple[str, float], ...] = ()  # label, share
    facts: tuple[tuple[str, str], ...] = ()
    seen: bool = False  # whether the file is the model's input, shown small


@dataclass(frozen=True)
class Row:
    """One kind of figure, for every model."""

    title: str
    text: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Section:
    """Rows under a heading."""

    title: str
    rows: tuple[Row, ...]


def render(title, models, sections):
    """The page.

    Args:
        title: of the page.
        models: titles of the columns.
        sections: their rows have a cell for each model. A row of nothing but notes is listed at the end.

    Returns:
        HTML, a string.
    """
    links = "".join(f'<li><a href="#s{i}">{escape(section.title)}</a></li>' for i, section in enumerate(sections))
    legend = "".join(
        f'<li>{low}<i style="background: linear-gradient(90deg, {colours})"></i>{high}</li>'
        for low, colours, high in LEGEND
    )
    body = "".join(_section(i, section, models) for i, section in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{escape(title)}</h1>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f'<ul class="legend" aria-label="Colours">{legend}</ul>\n'
        "<p>Select a figure to open it at full size.</p>\n</header>\n"
        f"<main>\n{body}{_missing(models, sections)}</main>\n</body>\n</html>\n"
    )


def _section(number, section, models):
    rows = "".join(_row(row, models) for row in section.rows if _shows_something(row))
    return f'<section id="s{number}">\n<h2>{escape(section.title)}</h2>\n{rows}</section>\n'


def _row(row, models):
    cells = "".join(_cell(cell, model) for cell, model in zip(row.cells, models, strict=True))
    return (
        f"<h3>{escape(row.title)}</h3>\n<p>{escape(row.text)}</p>\n"
        f'<div class="models" style="--columns: {len(models)}">\n{cells}</div>\n'
    )


def _cell(cell, model):
    parts = [f"<strong>{escape(model)}</strong>"]
    if cell.file:
        width, height = cell.size
        kind = f' class="seen{" small" * (width < 100)}"' if cell.seen else ""
        parts.append(
            f'<a href="{escape(cell.file)}"><img src="{escape(cell.file)}" alt="{escape(cell.alt)}" width="{width}" '
            f'height="{height}" loading="lazy"{kind}></a>'
        )
    if cell.facts:
        parts.append(
            f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>' for name, fact in cell.facts)}</dl>"
        )
    if cell.scores:
        parts.append(f"<ol>{''.join(_score(label, share) for label, share in cell.scores)}</ol>")
    if cell.note:
        parts.append(f"<figcaption>{escape(cell.note)}</figcaption>")
    return f"<figure>{''.join(parts)}</figure>\n"


def _score(label, share):
    percent = 100 * share
    bar = f'<i style="width: {percent:.1f}%"></i>'
    return f"<li><span>{escape(label)}</span><span>{percent:.1f} %</span>{bar}</li>"


def _shows_something(row):
    return any(cell.file or cell.facts or cell.scores for cell in row.cells)


def _missing(models, sections):
    """Kinds of figure that no model has, each once, with the reasons."""
    reasons = {}
    for section in sections:
        for row in section.rows:
            if not _shows_something(row):
                reasons[row.title] = [(model, cell.note) for model, cell in zip(models, row.cells)]
    if not reasons:
        return ""
    items = "".join(
        f"<dt>{escape(title)}</dt><dd>{'<br>'.join(f'{escape(model)}: {escape(note)}' for model, note in entries)}</dd>"
        for title, entries in reasons.items()
    )
    return f"<section>\n<h2>What none of the models has</h2>\n<dl>{items}</dl>\n</section>\n"
