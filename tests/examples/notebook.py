"""examples/fine_tune.ipynb runs from top to bottom, and what its cells show is what they should show:

    make test-notebook          which makes the environment and runs  python -m tests.examples.notebook build/notebook

The executed notebook is left in the folder, to be looked at.
"""

import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from keras_vit.system import startup

ROOT = Path(__file__).parents[2]
LONGEST = 300  # seconds, on two cores


def execute(folder):
    """Execute a copy of the notebook in a folder; the executed notebook."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebook = nbformat.read(ROOT / "examples" / "fine_tune.ipynb", as_version=4)
    nbformat.validate(notebook)
    start = time.monotonic()
    client = NotebookClient(notebook, timeout=LONGEST, resources={"metadata": {"path": str(folder)}})
    try:
        client.execute()
    finally:
        nbformat.write(notebook, folder / "fine_tune.ipynb")
    return notebook, time.monotonic() - start


def outputs(notebook):
    """Of each code cell: (its text, the media types that it shows, its text on standard error)."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            streams = {name: "" for name in ("stdout", "stderr")}
            shown = [kind for output in cell.outputs if "data" in output for kind in output.data]
            for output in cell.outputs:
                if output.output_type == "stream":
                    streams[output.name] += output.text
            yield streams["stdout"], shown, streams["stderr"]


def check(notebook, seconds):
    """Check what the cells show; AssertionError, naming the cell."""
    cells = list(outputs(notebook))
    assert len(cells) == 10, f"{len(cells)} code cells"
    for number, (text, _, error) in enumerate(cells, 1):
        error = startup.INFORMATION.sub(b"", error.encode()).strip()  # of TensorFlow's libraries, when they are loaded
        assert not error, f"cell {number} writes to standard error: {error[:2000]}"
        assert "INFO:" not in text, f"cell {number} shows what is for developers: {text[:500]}"
        assert "\x1b" not in text, f"cell {number} has codes of a terminal in its output"
        wide = [line for line in text.splitlines() if len(line) > 160]
        assert not wide, f"cell {number} has long lines: {wide[0]}"
    table, plan, rates, training, figures, scores = (cells[i] for i in (2, 4, 5, 6, 7, 9))
    assert "text/html" in table[1] and "image/png" in plan[1] and "image/png" in rates[1]
    assert "Suggestion: lr" in rates[0] and figures[1].count("image/png") == 2
    epochs = re.findall(r"^epoch +(\d+)/12  loss .* left", training[0], re.MULTILINE)
    assert epochs == [str(i + 1) for i in range(len(epochs))] and len(epochs) >= 4, training[0]
    assert training[1].count("text/html") == 1, "one live line, which is replaced"
    live = [output for output in notebook.cells[14].outputs if "text/html" in output.get("data", {})]
    assert re.sub(r"<[^>]+>", "", live[0].data["text/html"]) == "", "the live line is taken away in the end"
    accuracy = re.findall(r"right, ([\d.]+) %", scores[0])
    assert len(accuracy) == 2 and float(accuracy[0]) >= 85, scores[0]
    assert seconds < LONGEST, f"it took {seconds:.0f} s"
    print(
        f"ten cells in {seconds:.0f} s; {len(epochs)} epochs, test accuracy {accuracy[0]} %, by crops {accuracy[1]} %"
    )


if __name__ == "__main__":
    check(*execute(Path(sys.argv[1]).absolute()))
