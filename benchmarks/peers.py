"""The other libraries: timm's models on PyTorch, their export in ONNX Runtime and OpenVINO, and other Keras models."""

import contextlib

import numpy as np

MODELS = (  # those of ours that are compared
    *("ViTS16", "ViTR26S32", "DeiTSDistilled", "SwinT", "ConvNeXtT", "TNTS", "CoaTLiteMini", "CoaTTiny"),
    *("T2TViT14", "PVTV2B1"),
)


def import_timm():
    """timm.

    Raises:
        ImportError: where it or PyTorch is not installed.
    """
    import torch

    torch.library.register_fake = lambda *args, **kwargs: lambda function: function  # torchvision's, for another torch
    import timm

    return timm


def timm_model(name, batch, **options):
    """timm's model of the same architecture, with random weights, and a batch for it."""
    timm = import_timm()
    import torch

    from keras_vit.models import VARIANTS  # here, so that a process that only reads images has no TensorFlow

    try:
        model = timm.create_model(VARIANTS[name].alias, pretrained=False, **options).eval()
    except RuntimeError as error:  # T2T-ViT and PVT v1, for instance
        raise ImportError(str(error), name=f"a timm with {name}") from error
    return model, torch.zeros(batch, 3, *VARIANTS[name].image_size)


PYTORCH = ("eager", "channels-last", "compiled")


def timm_side(name, batch, mode):
    """A function that predicts a batch."""
    model, images = timm_model(name, batch)
    import torch

    if mode == "channels-last":
        model, images = (x.to(memory_format=torch.channels_last) for x in (model, images))
    run = torch.compile(model) if mode == "compiled" else model

    def predict():
        with torch.inference_mode():
            return run(images).numpy()

    return predict


def export(name, path, batch=1):
    """Write timm's model as ONNX, for a batch size."""
    model, images = timm_model(name, batch)
    import torch

    torch.onnx.export(model, images, str(path), input_names=["image"], output_names=["logits"], dynamo=False)


def onnxruntime_side(path, threads):
    """A function that predicts one image."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.zeros(session.get_inputs()[0].shape, "float32")
    return lambda: session.run(None, {"image": image})


def openvino_side(path, threads, precision):
    """A function that predicts one image, with arithmetic in "f32" or "bf16"."""
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


def applications_convnext_t():
    import keras

    return keras.applications.ConvNeXtTiny(weights=None)


def kecam_convnext_t():
    import keras_cv_attention_models

    return keras_cv_attention_models.convnext.ConvNeXtTiny(pretrained=None)


def keras_hub_vit_s16():
    from keras_hub import models

    return models.ViTImageClassifier(models.ViTBackbone((224, 224, 3), 16, 12, 6, 384, 1536), 1000)


def keras_hub_deit_s_distilled():
    from keras_hub import models

    return models.DeiTImageClassifier(models.DeiTBackbone((224, 224, 3), 16, 12, 6, 384, 1536), 1000)


def keras_hub_swin_t():
    from keras_hub import models

    backbone = models.SwinTransformerBackbone((224, 224, 3), 96, (2, 2, 6, 2), (3, 6, 12, 24), 7)
    return models.SwinTransformerImageClassifier(backbone, 1000)


KERAS = {  # our name: {side: a function that builds the same architecture}
    "ConvNeXtT": {"keras.applications": applications_convnext_t, "kecam": kecam_convnext_t},
    "ViTS16": {"keras-hub": keras_hub_vit_s16},
    "DeiTSDistilled": {"keras-hub": keras_hub_deit_s_distilled},
    "SwinT": {"keras-hub": keras_hub_swin_t},
}


@contextlib.contextmanager
def leaving_out(side):
    """Skip a side that is not installed, with a message."""
    try:
        yield
    except ImportError as error:
        print(f"left out: {side} ({error.name} is not installed)")
