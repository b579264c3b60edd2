"""Makes TensorFlow's classes of transformers 4.57, drawn by a seed:  tensorflow_models.py ROOT SEED [CASE ...]

It runs with TF_USE_LEGACY_KERAS=1 where tensorflow, tf-keras and transformers 4.57 are installed, and needs nothing of
this library. See `random_models.py` for what it writes. Outputs are in float32 here, and so is their error.
"""

import pathlib
import sys

import tensorflow as tf
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from random_models import Draw, images, make_all, photo, write_record  # noqa: E402

ACTIVATIONS = ("gelu", "gelu_new", "relu", "quick_gelu")


def encoder(draw):
    heads, patch = draw.whole(1, 4), draw.one(4, 8, 16)
    return {
        "hidden_size": heads * draw.one(6, 10),
        "num_attention_heads": heads,
        "num_hidden_layers": draw.whole(1, 3),
        "intermediate_size": draw.whole(10, 70),
        "patch_size": patch,
        "image_size": patch * draw.whole(2, 4),
        "hidden_act": draw.one(*ACTIVATIONS),
        "layer_norm_eps": draw.one(1e-12, 1e-6, 1e-5),
        "qkv_bias": draw.chance(0.7),
        "id2label": draw.labels(),
    }


def vit(draw):
    return transformers.ViTConfig(**encoder(draw))


def deit(draw):
    return transformers.DeiTConfig(**encoder(draw))


def swin(draw):
    heads, window = draw.whole(1, 3), draw.whole(2, 4)
    return transformers.SwinConfig(
        embed_dim=heads * 6,
        depths=[draw.whole(1, 2), draw.whole(1, 3)],
        num_heads=[heads, 2 * heads],
        window_size=window,
        patch_size=4,
        image_size=4 * window * draw.one(2, 4),
        mlp_ratio=draw.one(2.0, 4.0),
        hidden_act=draw.one(*ACTIVATIONS),
        qkv_bias=draw.chance(0.7),
        id2label=draw.labels(),
    )


def convnext(draw):
    return transformers.ConvNextConfig(
        num_stages=4,
        hidden_sizes=[draw.whole(4, 20) for _ in range(4)],
        depths=[draw.whole(1, 2) for _ in range(4)],
        image_size=draw.one(64, 96),
        hidden_act=draw.one(*ACTIVATIONS),
        layer_scale_init_value=0.1,
        id2label=draw.labels(),
    )


CASES = {
    "TFViTForImageClassification": vit,
    "TFViTModel": vit,
    "TFDeiTForImageClassification": deit,
    "TFDeiTForImageClassificationWithTeacher": deit,
    "TFDeiTModel": deit,
    "TFSwinForImageClassification": swin,
    "TFSwinModel": swin,
    "TFConvNextForImageClassification": convnext,
    "TFConvNextModel": convnext,
}


PROCESSORS = {"TFViT": "ViT", "TFDeiT": "DeiT", "TFSwin": "ViT", "TFConvNext": "ConvNext"}


def processor(draw, name, side):
    """The image processor that the model's pages take, of the model's size."""
    kind = next(own for start, own in PROCESSORS.items() if name.startswith(start))
    sizes = {
        "ViT": {"size": {"height": side, "width": side}},
        "DeiT": {
            "size": {"height": side * 8 // 7, "width": side * 8 // 7},
            "crop_size": {"height": side, "width": side},
        },
        "ConvNext": {"size": {"shortest_edge": side}, "crop_pct": draw.one(0.875, 0.95)},
    }
    means = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.3, 0.25, 0.2], "resample": draw.one(2, 3)}
    return getattr(transformers, f"{kind}ImageProcessor")(**sizes[kind], **means)


def make(root, seed, name):
    """Draw, build, save and record one case."""
    draw, folder = Draw(seed, name), pathlib.Path(root) / name / "model"
    config = CASES[name](draw)
    model = getattr(transformers, name)(config)
    shape = (2, config.image_size, config.image_size, 3)
    tensor = tf.constant(images(shape).transpose(0, 3, 1, 2))
    model(tensor)
    for variable in model.trainable_variables:
        path = variable.name.partition(":")[0]
        variable.assign(draw.array(path, tuple(variable.shape)).astype("float32"))
    model.save_pretrained(folder)
    made = model(tensor)
    if "Classification" in name:
        kind, outputs = "logits", made.logits
    elif name == "TFConvNextModel":
        kind, outputs = "pooled", made.pooler_output
    else:
        kind, outputs = "patches", made.last_hidden_state[:, {"TFViTModel": 1, "TFDeiTModel": 2}.get(name, 0) :]
    labels = [config.id2label[k] for k in range(len(config.id2label))] if kind == "logits" else None
    entries = {"library": f"transformers {transformers.__version__}, TensorFlow {tf.__version__}", "output": kind}
    entries |= {"container": "tf_model.h5", "shape": shape, "labels": labels, "float32_error": 1e-6}
    prepares, size = processor(draw, name, config.image_size), [draw.whole(30, 300), draw.whole(30, 300)]
    prepares.save_pretrained(folder)
    pixels = prepares(photo(*size), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    arrays = {"outputs": outputs.numpy().astype("float64"), "pixels": pixels.astype("float32")}
    write_record(root, name, arrays, entries | {"photo": size})


if __name__ == "__main__":
    make_all(make, CASES)
