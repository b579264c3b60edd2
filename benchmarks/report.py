"""What all benchmarks share: the machine in words, a table on the screen, rows in a CSV file."""

import csv
import os
import pathlib
import platform
import time
from importlib import metadata

import numpy as np

NOT_MEASURED, SHORT = "not measured", 0.5  # seconds
PACKAGES = (
    *("keras", "tensorflow", "tensorflow-cpu", "numpy", "ai-edge-litert"),
    *("jax", "torch", "timm", "onnxruntime", "openvino"),
)


def machine():
    """Processor, cores, memory, load and versions, in one line."""
    from keras_vit.export.parity import cores  # here: whoever only measures does without what it imports

    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {cores()} cores, {gigabytes:.0f} GiB, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _processor():
    """Its name and, as virtual machines often say no more than the maker's, the numbers of its family and model."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = said.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {said['cpu family']}, model {said['model']})" if "cpu family" in said else name


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def seconds(function):
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(sides, rounds, warm_up=3):
    """{side: seconds of each round} of functions that take turns; the first rounds, which compile, do not count.

    What is SHORT is done twice in a turn, and the second time counts: the threads of the side before go on looking for
    work for some milliseconds (ONNX Runtime's, for instance), and the caches hold what was its.
    """
    times = {side: [] for side in sides}
    for number in range(warm_up + rounds):
        for side, work in sides.items():
            taken = seconds(work)
            if taken < SHORT:
                taken = seconds(work)
            times[side] += [taken] if number >= warm_up else []
    return times


def compare(facts, times, ours, others):
    """Rows of medians in milliseconds with the 10th and 90th percentile: `ours` against each of the others."""
    for other in others:
        low, middle, high = np.percentile(times[ours], (10, 50, 90))
        other_low, other_middle, other_high = np.percentile(times[other], (10, 50, 90))
        yield {
            **facts,
            **{"ms": 1000 * middle, "p10_p90": f"{1000 * low:.1f}-{1000 * high:.1f}"},
            **{"against": other, "its_ms": 1000 * other_middle},
            **{"its_p10_p90": f"{1000 * other_low:.1f}-{1000 * other_high:.1f}", "ratio": middle / other_middle},
        }


def show(rows):
    """Prints dicts of the same keys as an aligned table."""
    texts = [list(rows[0]), *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts)]
    for line in texts:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


def write(path, rows):
    """Writes the same rows as CSV, the machine in a column of its own; no path, no file."""
    if path is None:
        return
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "machine": machine()} for row in rows)
    print(f"Written: {path}")
