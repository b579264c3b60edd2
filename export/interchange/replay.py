"""Run an ONNX or OpenVINO file as its users will: in a process of its own, with its runtime and numpy alone.

    python replay.py onnx|openvino FILE IMAGES.npy OUTPUTS.npz

IMAGES: uint8 (N, H, W, 3); OUTPUTS: all that the file gives, by name: probabilities float32 (N, K), and known_score
(N,) where it has it, or features.
"""

import sys

import numpy as np

BATCH = 3  # not 1, to test the free batch dimension


def onnx(path):
    """images (B, H, W, 3) -> {output: array}, by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images})))


def openvino(path):
    """The same by OpenVINO, in float32 even on CPUs that would use bfloat16."""
    import openvino as runtime

    compiled = runtime.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: {output.get_any_name(): x for output, x in compiled({"images": images}).items()}


def main(format, path, images, outputs):
    """Write the outputs for the images."""
    predict, images = {"onnx": onnx, "openvino": openvino}[format](path), np.load(images, mmap_mode="r")
    batches = [images[start : start + BATCH].astype(np.float32) for start in range(0, len(images), BATCH)]
    found = [predict(batch) for batch in batches]
    np.savez(outputs, **{name: np.concatenate([one[name] for one in found]) for name in found[0]})
    if "keras" in sys.modules or "tensorflow" in sys.modules:
        raise RuntimeError(f"{path} imported Keras or TensorFlow.")


if __name__ == "__main__":
    main(*sys.argv[1:])
