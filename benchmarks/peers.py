"""What a user would pick instead: timm's models on PyTorch, and its export in ONNX Runtime and OpenVINO."""

import contextlib

import numpy as np

from keras_vit.models import VARIANTS


def import_timm():
    """timm; ImportError where it or PyTorch is not installed."""
    import torch

    torch.library.register_fake = lambda *args, **kwargs: lambda function: function  # torchvision's, for another torch
    import timm

    return timm


def export(name, path):
    """Write timm's model of the same architecture, with drawn weights and for one picture, as ONNX."""
    timm = import_timm()
    import torch

    model = timm.create_model(VARIANTS[name].alias, pretrained=False).eval()
    image = torch.zeros(1, 3, *VARIANTS[name].image_size)
    torch.onnx.export(model, image, str(path), input_names=["image"], output_names=["logits"], dynamo=False)


def onnxruntime_side(path, threads):
    """A function that answers one picture."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.zeros(session.get_inputs()[0].shape, "float32")
    return lambda: session.run(None, {"image": image})


def openvino_side(path, threads, precision):
    """A function that answers one picture, with arithmetic in "f32" or "bf16"."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    image = np.zeros(tuple(request.model_inputs[0].shape), "float32")
    return lambda: request.infer([image])


EXPORTED = {  # side: a function of (path, threads)
    "ONNX Runtime float32": onnxruntime_side,
    "OpenVINO float32": lambda path, threads: openvino_side(path, threads, "f32"),
    "OpenVINO bfloat16": lambda path, threads: openvino_side(path, threads, "bf16"),
}


@contextlib.contextmanager
def leaving_out(side):
    """Where what `side` needs is not installed, it is left out by name."""
    try:
        yield
    except ImportError as error:
        print(f"left out: {side} ({error.name} is not installed)")
