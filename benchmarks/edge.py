"""One image on a CPU with 1 and 2 threads:  python -m benchmarks.edge [--models NAME ...] [--rounds 30] [--csv FILE]

The .tflite files of `keras-vit convert` (float32, dynamic int8, int8) against the float32 one, against LiteRT's
CompiledModel of the same float32 file (on the CPU, and on the GPU where LiteRT finds one), and against ONNX Runtime and
OpenVINO (float32, bfloat16) on timm's export of the same architecture. The installed runtimes alternate, image by
image, each in a process of its own; medians over the rounds are compared, and reported with the 10th and 90th
percentile. Weights are synthetic; int8 keeps as many layers float as a cosine of 0.999 to the float model's logits
needs.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import peers, processes, report
from keras_vit.export.parity import parity
from keras_vit.models import VARIANTS
from keras_vit.prediction.tflite_interpreter import open_interpreter
from tests.export import full_size

QUANTIZATIONS = {"none": "fp32", "dynamic_int8": "dynamic_int8", "int8": "int8"}  # and their files' endings
FLOAT, OURS = "tflite none", "tflite"
COMPILED = {"compiled CPU": "CPU", "compiled GPU": "GPU"}  # and LiteRT's names of the accelerators
RUNTIMES = (OURS, *COMPILED, *peers.EXPORTED)


def tflite_side(path, threads):
    """A function that predicts one image."""
    interpreter = open_interpreter(path, threads)
    taken = interpreter.get_input_details()[0]
    image, run = np.zeros(taken["shape"], taken["dtype"]), interpreter.get_signature_runner("serving_default")
    return lambda: run(image=image)


def compiled_side(path, accelerator, threads):
    """The same function by LiteRT's CompiledModel; None where LiteRT finds no such accelerator."""
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options

    options = Options(HardwareAccelerator[accelerator], cpu_options=CpuOptions(num_threads=threads))
    try:
        model = CompiledModel.from_file(str(path), options=options)
    except RuntimeError:
        return None
    shape = model.get_input_tensor_details("serving_default")["image"]["shape"]
    (classes,) = (one["shape"][-1] for one in model.get_output_tensor_details("serving_default").values())
    taken, given = model.create_input_buffers(0), model.create_output_buffers(0)
    image = np.zeros(shape, "float32")

    def run():
        taken[0].write(image)
        model.run_by_index(0, taken, given)
        return given[0].read(classes, np.float32)

    return run


def sides_of(runtime, name, folder, threads):
    """{side: function} of our files in the folder, or of timm's export in another runtime, if it is installed."""
    if runtime == OURS:
        return {
            f"tflite {quantization}": tflite_side(next(Path(folder, name).glob(f"*_{ending}.tflite")), threads)
            for quantization, ending in QUANTIZATIONS.items()
        }
    if runtime in COMPILED:
        path = next(Path(folder, name).glob(f"*_{QUANTIZATIONS['none']}.tflite"))
        side = compiled_side(path, COMPILED[runtime], threads)
        return {runtime: side} if side else {}
    exported = Path(folder, f"{runtime}.onnx")  # a file per runtime, since all start at once
    with peers.leaving_out(runtime):
        if not exported.exists():
            peers.export(name, exported)
        return {runtime: peers.EXPORTED[runtime](exported, threads)}
    return {}


def measure(name, rounds):
    """A row per number of threads, file of ours and side it is compared with."""
    with tempfile.TemporaryDirectory() as folder:
        files = {f"tflite {row['quant']}": row for row in full_size.convert(name, tuple(QUANTIZATIONS), folder)}
        for threads in (1, 2):
            with processes.served(
                "benchmarks.edge", *(("--serve", each, name, folder, threads) for each in RUNTIMES)
            ) as sides:
                times = report.alternate(sides, rounds)
            for ours, file in files.items():
                facts = {"model": name, "threads": threads, "ours": ours, "kept_float": file["layers_kept_float"]}
                facts |= {"delegated": f"{file['delegated_nodes']}/{file['nodes']}", "cosine": file["cosine"]}
                others = [side for side in times if side == FLOAT or side not in files]
                yield from report.compare(facts, times, ours, [side for side in others if side != ours])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, choices=VARIANTS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        *which, threads = arguments.serve
        processes.serve(lambda: sides_of(*which, int(threads)))
        return
    parity.on_cpu()
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
