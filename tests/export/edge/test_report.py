import copy

import numpy as np

from keras_vit.export.edge import report


def test_latency_has_percentiles_threads_and_cpu():
    found = report.latency(np.arange(1.0, 102.0), 3)
    assert (found["p50"], found["p90"]) == (51, 91)
    assert found["threads"] == 3 and found["cpu"] == report.cpu() != ""


def test_the_report_of_a_file(integer):
    float16, int8, int16x8 = integer[1]["files"]
    assert float16["max_rank"] == 4 and float16["operators"]["FULLY_CONNECTED"] == 2
    assert float16["delegated_nodes"] == float16["total_nodes"] == sum(float16["operators"].values())
    assert float16["partitions"] == 1
    assert int16x8["delegated_nodes"] < int16x8["total_nodes"]  # there are no int16 kernels in XNNPACK
    assert int8["latency_ms"]["p50"] > 0
    assert float16["float_operators"]["FULLY_CONNECTED"] == 2 and float16["float_operators"]["CONV_2D"] == 1
    assert not {"FULLY_CONNECTED", "CONV_2D", "DEQUANTIZE"} & set(int8["float_operators"])
    assert int8["float_operators"]["GELU"] == 2 and int8["float_operators"]["SOFTMAX"] == 1


def test_the_table_has_a_line_per_file_and_the_notes(integer):
    summary = copy.deepcopy(integer[1]) | {"calibration": {"note": "better on real images"}}
    summary["files"][1] |= {"top1": None, "delta": None, "output": "float32", "float_fallback_layers": ["a", "b"]}
    lines = report.as_table(summary).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert "toys_16x24_fp16.tflite" in lines[1] and "91.67" in lines[1] and "+0.00" in lines[1]
    assert lines[2].split()[2:4] == ["-", "-"] and lines[2].endswith(" 2")
    assert lines[4].startswith("12 test images; ")
    assert lines[5:] == [
        "int8 keeps float: a, b",
        "int8 gives float32: best classes would change in steps of 1/255",
        "better on real images",
    ]
