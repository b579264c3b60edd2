"""Makes models of the newest transformers, drawn by a seed:  transformers_models.py ROOT SEED [CASE ...]

It runs where torch, torchvision and transformers are installed and needs nothing of this library. See
`random_models.py` for what it writes.
"""

import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import any_torchvision  # noqa: E402, F401 isort: skip
import transformers  # noqa: E402 isort: skip

from random_models import ACTIVATIONS, Draw, images, make_all, photo, write_record  # noqa: E402

EPSILONS = (1e-12, 1e-6, 1e-5, 1e-3)


def encoder(draw):
    """Sizes of a plain encoder."""
    heads, patch = draw.whole(1, 4), draw.one(4, 6, 8, 14, 16)
    height = patch * draw.whole(2, 4)
    width = patch * draw.whole(2, 4) if draw.chance(0.3) else height
    return {
        "hidden_size": heads * draw.one(4, 6, 10),
        "num_attention_heads": heads,
        "num_hidden_layers": draw.whole(1, 3),
        "intermediate_size": draw.whole(10, 70),
        "patch_size": patch,
        "image_size": height if height == width else [height, width],
        "num_channels": draw.one(3, 3, 3, 1, 4),
        "hidden_act": draw.one(*ACTIVATIONS),
        "layer_norm_eps": draw.one(*EPSILONS),
        "qkv_bias": draw.chance(0.7),
    }


def vit(draw):
    return transformers.ViTConfig(**encoder(draw), id2label=draw.labels())


def vit_mae(draw):
    sizes = encoder(draw) | {"mask_ratio": 0.0, "decoder_hidden_size": 8, "decoder_num_attention_heads": 2}
    side = sizes["image_size"]
    sizes["image_size"] = side if isinstance(side, int) else side[0]
    return transformers.ViTMAEConfig(**sizes, decoder_num_hidden_layers=1, decoder_intermediate_size=8)


def deit(draw):
    return transformers.DeiTConfig(**encoder(draw), id2label=draw.labels())


def swin(draw):
    stages, heads = draw.whole(1, 3), draw.whole(1, 3)
    window, patch = draw.whole(2, 4), draw.one(2, 4)
    grid = window * draw.one(1, 2, 3) * 2 ** (stages - 1) + (draw.whole(0, 3) if draw.chance() else 0)
    return transformers.SwinConfig(
        embed_dim=heads * draw.one(4, 6),
        depths=[draw.whole(1, 3) for _ in range(stages)],
        num_heads=[heads * draw.one(1, 2) ** s for s in range(stages)],
        window_size=window,
        patch_size=patch,
        image_size=grid * patch,
        mlp_ratio=draw.one(2.0, 3.5, 4.0),
        num_channels=draw.one(3, 3, 1),
        hidden_act=draw.one(*ACTIVATIONS),
        layer_norm_eps=draw.one(*EPSILONS),
        qkv_bias=draw.chance(0.7),
        id2label=draw.labels(),
    )


def convnext(draw):
    stages = draw.whole(1, 5)
    return transformers.ConvNextConfig(
        num_stages=stages,
        hidden_sizes=[draw.whole(4, 20) for _ in range(stages)],
        depths=[draw.whole(1, 3) for _ in range(stages)],
        patch_size=draw.one(2, 4, 5),
        image_size=draw.whole(80, 110),
        num_channels=draw.one(3, 3, 1),
        hidden_act=draw.one(*ACTIVATIONS),
        layer_norm_eps=draw.one(*EPSILONS),
        layer_scale_init_value=draw.one(1e-6, 0.1, 0.0),
        id2label=draw.labels(),
    )


def pyramid(draw, stages):
    """Sizes of a pyramid of so many stages."""
    heads = [draw.whole(1, 3) for _ in range(stages)]
    return {
        "num_encoder_blocks": stages,
        "depths": [draw.whole(1, 2) for _ in range(stages)],
        "hidden_sizes": [number * draw.one(4, 6) for number in heads],
        "num_attention_heads": heads,
        "mlp_ratios": [draw.whole(1, 4) for _ in range(stages)],
        "num_channels": draw.one(3, 3, 1),
        "hidden_act": draw.one(*ACTIVATIONS),
        "layer_norm_eps": draw.one(*EPSILONS),
        "qkv_bias": draw.chance(0.7),
        "id2label": draw.labels(),
    }


def pvt(draw):
    stages = draw.one(4, 4, 2, 3)
    sizes = pyramid(draw, stages)
    return transformers.PvtConfig(
        **sizes,
        patch_sizes=[4] + [2] * (stages - 1),
        strides=[4] + [2] * (stages - 1),
        sequence_reduction_ratios=[draw.one(1, 2, 4) for _ in range(stages - 1)] + [1],
        image_size=16 * 2 ** (stages - 1) * draw.one(1, 2),
        num_labels=len(sizes["id2label"]),
    )


def pvt_v2(draw):
    stages = draw.one(4, 4, 2, 3)
    return transformers.PvtV2Config(
        **pyramid(draw, stages),
        patch_sizes=[draw.one(3, 5, 7) for _ in range(stages)],
        strides=[draw.one(2, 4)] + [2] * (stages - 1),
        sr_ratios=[draw.one(1, 2) for _ in range(stages)],
        linear_attention=draw.chance(0.4),
        image_size=draw.whole(64, 90),
    )


def dinov2_sizes(draw):
    """Sizes of a DINOv2, square: the position of its class token is kept apart with registers."""
    sizes = encoder(draw) | {"layer_norm_eps": draw.one(*EPSILONS[1:]), "mlp_ratio": draw.whole(2, 4)}
    patch = sizes.pop("patch_size")
    del sizes["intermediate_size"]
    return sizes | {
        "patch_size": patch,
        "image_size": patch * draw.whole(2, 4),
        "hidden_act": "gelu",
        "use_swiglu_ffn": draw.chance(0.4),
        "id2label": draw.labels(),
    }


def dinov2(draw):
    return transformers.Dinov2Config(**dinov2_sizes(draw))


def dinov2_with_registers(draw):
    return transformers.Dinov2WithRegistersConfig(**dinov2_sizes(draw), num_register_tokens=draw.whole(1, 5))


CASES = {  # case: (configuration, class)
    "ViTForImageClassification": vit,
    "ViTModel": vit,
    "ViTMAEModel": vit_mae,
    "ViTMAEForPreTraining": vit_mae,
    "DeiTForImageClassification": deit,
    "DeiTForImageClassificationWithTeacher": deit,
    "DeiTModel": deit,
    "SwinForImageClassification": swin,
    "SwinModel": swin,
    "ConvNextForImageClassification": convnext,
    "ConvNextModel": convnext,
    "PvtForImageClassification": pvt,
    "PvtModel": pvt,
    "PvtV2ForImageClassification": pvt_v2,
    "PvtV2Model": pvt_v2,
    "Dinov2ForImageClassification": dinov2,
    "Dinov2Model": dinov2,
    "Dinov2WithRegistersForImageClassification": dinov2_with_registers,
    "Dinov2WithRegistersModel": dinov2_with_registers,
}


def processor(draw, height, width):
    """An image processor whose results are of the model's size."""
    common = {
        "resample": draw.one(2, 3),
        "image_mean": [round(float(x), 3) for x in draw.random.uniform(0.3, 0.6, 3)],
        "image_std": [round(float(x), 3) for x in draw.random.uniform(0.2, 0.5, 3)],
        "do_normalize": draw.chance(0.8),
        "do_rescale": draw.chance(0.9),
        "rescale_factor": draw.one(1 / 255, 1 / 255, 1 / 127.5),
    }
    size = {"height": height, "width": width}
    kinds = ["ViT", "DeiT", "Pvt"] + (["ConvNext", "Bit", "Bit"] if height == width else [])
    kind = draw.one(*kinds)
    if kind == "ConvNext":
        return transformers.ConvNextImageProcessor(
            size={"shortest_edge": height}, crop_pct=draw.one(0.875, 0.9, 1.0, 224 / 256), **common
        )
    if kind == "Bit":
        short = int(height * draw.one(1.0, 1.143, 1.3))
        return transformers.BitImageProcessor(size={"shortest_edge": short}, crop_size=size, **common)
    if kind == "DeiT":
        before = {"height": int(height * 8 / 7), "width": int(width * 8 / 7)} if height == width else size
        return transformers.DeiTImageProcessor(size=before, crop_size=size, **common)
    return getattr(transformers, f"{kind}ImageProcessor")(size=size, **common)


def outputs(name, model, tensor):
    """(what the outputs are called, the outputs) of a model."""
    if name.startswith("ViTMAE"):
        count = model.config.image_size // model.config.patch_size
        noise = torch.arange(count**2, dtype=tensor.dtype)[None].repeat(len(tensor), 1)  # keeps the patches in order
        encoder_model = model.vit if name == "ViTMAEForPreTraining" else model
        return "patches", encoder_model(tensor, noise=noise).last_hidden_state[:, 1:]
    made = model(tensor)
    if "Classification" in name:
        return "logits", made.logits
    if name == "ConvNextModel":
        return "pooled", made.pooler_output
    last = made.last_hidden_state
    if last.ndim == 4:
        return "patches", last.flatten(2).transpose(1, 2)
    extra = {"ViTModel": 1, "DeiTModel": 2, "PvtModel": 1, "Dinov2Model": 1}.get(name, 0)
    extra += 1 + model.config.num_register_tokens if "WithRegisters" in name else 0
    return "patches", last[:, extra:]


def save(model, folder, draw):
    """Save the weights in one of the containers, and the configuration."""
    container = draw.one("safetensors", "safetensors shards", "bin", "bin shards")
    model.save_pretrained(folder, max_shard_size="8KB" if "shards" in container else "5GB")
    if container.startswith("bin"):
        from safetensors.torch import load_file

        for file in sorted(folder.glob("*.safetensors")):
            torch.save(load_file(file), folder / f"pytorch_{file.stem}.bin")
            file.unlink()
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            entries = json.loads(index.read_text())
            files = {name: f"pytorch_{pathlib.Path(file).stem}.bin" for name, file in entries["weight_map"].items()}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(entries | {"weight_map": files}))
            index.unlink()
    return container


def make(root, seed, name):
    """Draw, build, save and record one case."""
    draw, folder = Draw(seed, name), pathlib.Path(root) / name / "model"
    model = getattr(transformers, name)(CASES[name](draw)).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if path.endswith("mask_token"):
                continue
            parameter.copy_(torch.from_numpy(draw.array(path, tuple(parameter.shape))))
    container = save(model, folder, draw)
    size = model.config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (2, height, width, model.config.num_channels)
    tensor = torch.from_numpy(images(shape).transpose(0, 3, 1, 2))
    with torch.no_grad():
        rounded = outputs(name, model, tensor)[1].double().numpy()
        kind, made = outputs(name, model.double(), tensor.double())
    arrays, size = {"outputs": made.numpy()}, [draw.whole(30, 300), draw.whole(30, 300)]
    if model.config.num_channels == 3:
        prepares = processor(draw, height, width)
        prepares.save_pretrained(folder)
        pixels = prepares(photo(*size), return_tensors="pt")["pixel_values"][0]
        arrays["pixels"] = pixels.numpy().transpose(1, 2, 0).astype("float32")
    labels = model.config.id2label if kind == "logits" else None
    entries = {
        "library": f"transformers {transformers.__version__}",
        "output": kind,
        "container": container,
        "shape": shape,
        "photo": size,
    }
    entries |= {"float32_error": float(np.abs(rounded - arrays["outputs"]).max() / arrays["outputs"].std())}
    entries |= {"labels": labels and [labels[k] for k in range(len(labels))]}
    write_record(root, name, arrays, entries)


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    make_all(make, CASES)
