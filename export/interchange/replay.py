"""Run an ONNX or OpenVINO file as its users will: in a process of its own, with its runtime and numpy alone.

    python replay.py onnx|openvino FILE IMAGES.npy OUTPUTS.npy

IMAGES: uint8 (N, H, W, 3); OUTPUTS: float32 (N, K).
"""

import sys

import numpy as np

BATCH = 3  # not 1, to test the free batch dimension


def onnx(path):
    """images (B, H, W, 3) -> probabilities (B, K), by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def openvino(path):
    """The same by OpenVINO, in float32 even on CPUs that would use bfloat16."""
    import openvino as runtime

    compiled = runtime.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled({"images": images})["probabilities"]


def main(format, path, images, outputs):
    """Write the probabilities of the images."""
    predict, images = {"onnx": onnx, "openvino": openvino}[format](path), np.load(images, mmap_mode="r")
    batches = [images[start : start + BATCH].astype(np.float32) for start in range(0, len(images), BATCH)]
    np.save(outputs, np.concatenate([predict(batch) for batch in batches]))
    if "keras" in sys.modules or "tensorflow" in sys.modules:
        raise RuntimeError(f"{path} imported Keras or TensorFlow.")


if __name__ == "__main__":
    main(*sys.argv[1:])
