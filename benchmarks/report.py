"""Shared by all benchmarks: a description of the machine, alternating measurements, a table, a CSV file."""

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
    *("jax", "torch", "timm", "onnxruntime", "openvino", "ray", "pyspark"),
)


def machine():
    """Processor, cores, memory, load and versions, in one line."""
    from keras_vit.export.parity.parity import cores  # here, so that a process that only measures does not import it

    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor()}, {cores()} cores, {gigabytes:.0f} GiB, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def processor():
    """Name, family and model of the processor; virtual machines often state only the maker as its name."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else name


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def seconds(function):
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(sides, rounds, warm_up=3):
    """{side: seconds of each round} of functions that alternate; the first rounds, which compile, are not counted.

    A SHORT one runs twice per round, and the second time counts: the threads of the previous side spin for some
    milliseconds (ONNX Runtime's, for instance), and the caches hold its data.
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
    """Print dictionaries of the same keys as an aligned table."""
    texts = [list(rows[0]), *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts)]
    for line in texts:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


def write(path, rows):
    """Write the rows as CSV, with a column for the machine; without a path, nothing."""
    if path is None:
        return
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "machine": machine()} for row in rows)
    print(f"Written: {path}")
