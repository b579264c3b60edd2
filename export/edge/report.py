"""The figures of .tflite files, as report.json and as a table."""

import platform
from pathlib import Path

import numpy as np

from keras_vit.export.edge import target
from keras_vit.export.edge.quantizations import STATIC
from keras_vit.export.edge.quantize import layer_name
from keras_vit.export.edge.tolerance import KNOWN
from keras_vit.export.tflite_graph import flatbuffer

CLASSES, FEATURES = ("top-1 %", "change", "agreement %", "cosine"), ("cosine", "smallest", "difference / std")


def entry(path, quantization, contents, found, allowed, delegation, kept):
    """A file's entry in report.json.

    Args:
        path: of the file.
        quantization: of `QUANTIZATIONS`.
        contents: `flatbuffer.Contents`.
        found: `tolerance.figures`.
        allowed: `tolerance.limits`.
        delegation: as `replay.delegation` returns it.
        kept: names of the tensors whose layers stay float.
    """
    delegated, total, partitions = map(int, delegation)
    return {
        "file": path.name,
        "quant": quantization,
        "size_bytes": path.stat().st_size,
        **found,
        "limits": allowed,
        "operators": contents.operators,
        "float_operators": flatbuffer.float_operators(path),
        "max_rank": contents.max_rank,
        "delegated_nodes": delegated,
        "total_nodes": total,
        "partitions": partitions,
        "float_fallback_layers": list(dict.fromkeys(map(layer_name, kept))),
    }


def latency(milliseconds, threads):
    """Percentiles of the times of single images, with threads and CPU."""
    p50, p90 = np.percentile(milliseconds, (50, 90))
    return {"p50": float(p50), "p90": float(p90), "threads": threads, "cpu": cpu()}


def cpu():
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def as_table(report):
    """A report as lines of text: a row per file, then notes on calibration and float layers."""
    compared = FEATURES if "features" in report else CLASSES
    head = ("", "MB", *compared, "p50 ms", "p90 ms", "delegated", "kept float")
    rows = [head, *map(_row, report["files"])]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    first = report["files"][0]
    lines.append(
        f"{first['n_images']} {first['dataset']} images; times of one image with "
        f"{first['latency_ms']['threads']} thread on {first['latency_ms']['cpu']}"
    )
    for file in report["files"]:
        if file["float_fallback_layers"]:
            lines.append(f"{file['quant']} keeps float: {', '.join(file['float_fallback_layers'])}")
        if file["quant"] in STATIC and file["output"] == "float32" and "features" not in file:
            why = "as its score of known images is" if KNOWN in file else "best classes would change in steps of 1/255"
            lines.append(f"{file['quant']} gives float32: {why}")
        if "gpu" in file:
            lines.append(f"{file['quant']}: {target.describe(file['gpu'])}")
        if not file["within_limits"]:
            lines.append(f"{file['quant']} EXCEEDS ITS LIMITS and was written because of --force")
    if "note" in (report["calibration"] or {}):
        lines.append(report["calibration"]["note"])
    return "\n".join(lines)


def _compared(file):
    """The cells of a file on how near it is to the Keras model."""
    if "features" in file:
        return f"{file['mean_cosine']:.5f}", f"{file['cosine']:.5f}", f"{file['relative_difference']:.1e}"
    known = file["top1"] is not None
    return (
        f"{file['top1']:.2f}" if known else "-",
        f"{file['delta']:+.2f}" if known else "-",
        f"{100 * file['agreement']:.2f}",
        f"{file['cosine']:.5f}",
    )


def _row(file):
    return (
        file["file"],
        f"{file['size_bytes'] / 1e6:.2f}",
        *_compared(file),
        f"{file['latency_ms']['p50']:.2f}",
        f"{file['latency_ms']['p90']:.2f}",
        f"{file['delegated_nodes']}/{file['total_nodes']} in {file['partitions']}",
        str(len(file["float_fallback_layers"])),
    )
