"""The folders of other servers against what reads them:  python -m tests.export.server_formats RUN REAL FOLDER

RUN is a run on the handwritten digits, REAL the folder that tests/real/package.py writes, or "none". Into FOLDER go the
folders of Triton, OpenVINO Model Server and KServe of the run, and of the trained backbone. Then

- Triton's own protobufs (tritonclient) parse config.pbtxt,
- ONNX Runtime and OpenVINO open the file, which has the names, types and shapes that config.pbtxt states, and take
  every batch that it prefers,
- both answer the test images as the Predictor of the run does, prepared by the folder's images.py; and crops of
  photographs as the Keras model of the backbone, whose weights are loaded by the public constructor.

Exit status 1 if any falls short (`make test-servers`).
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc import model_config_pb2

import keras_vit
from keras_vit.cli import main as command
from keras_vit.export.interchange import replay
from keras_vit.models.family import IMAGENET
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run

PROBABILITIES, FEATURES = 1e-4, 1e-3  # largest differences: of probabilities, and of features in their deviation
DECODERS = 2e-2  # of probabilities of images that Pillow prepares, whose filters round otherwise
TARGETS = {
    "triton": ["--target", "triton"],
    "ovms": ["--target", "ovms"],
    "kserve": ["--target", "kserve", "--storage-uri", "s3://bucket/models"],
    "kserve_ovms": ["--target", "kserve", "--runtime", "ovms"],
    "kserve_tfserving": ["--target", "kserve", "--runtime", "tfserving"],
}


def parsed(folder):
    """The configuration of a model's folder by Triton's protobufs, checked for what the text is to state."""
    text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == folder.name and config.platform == "onnxruntime_onnx"
    assert config.version_policy.latest.num_versions == 1 and config.HasField("dynamic_batching")
    assert config.dynamic_batching.preferred_batch_size[-1] == config.max_batch_size
    assert [one.batch_size for one in config.model_warmup] == list(config.dynamic_batching.preferred_batch_size)
    for warmup in config.model_warmup:
        assert {name: list(one.dims) for name, one in warmup.inputs.items()} == {
            one.name: list(one.dims) for one in config.input
        }
    for output in config.output:
        assert not output.label_filename or (folder / output.label_filename).is_file()
    return config


def shapes_of(config):
    """{name: shape behind the batch} of a configuration's ends; an output that is reshaped has that shape."""
    return {
        one.name: tuple(one.reshape.shape if one.HasField("reshape") else one.dims)
        for one in (*config.input, *config.output)
    }


def check_ends(file, config):
    """Raise unless ONNX Runtime finds what the configuration states, and takes batches of all preferred sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    ends = [*session.get_inputs(), *session.get_outputs()]
    assert {end.name: tuple(end.shape[1:]) for end in ends} == shapes_of(config), "other names or shapes"
    assert {end.type for end in ends} == {"tensor(float)"}
    assert all(one.data_type == model_config_pb2.TYPE_FP32 for one in (*config.input, *config.output))
    [images] = config.input
    for size in config.dynamic_batching.preferred_batch_size:
        for values in session.run(None, {images.name: np.zeros((size, *images.dims), "float32")}):
            assert len(values) == size


def batches(predict, images, size=16):
    """{output: float32 (N, ...)} of a runtime's function for many images."""
    found = [predict(images[start : start + size].astype("float32")) for start in range(0, len(images), size)]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def images_module(folder):
    """The folder's images.py."""
    spec = importlib.util.spec_from_file_location("images", folder / "images.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def say(what, passed, text):
    print(f"{'ok  ' if passed else 'FAIL'} {what}: {text}", flush=True)
    return int(not passed)


def run_of_digits(run, folder):
    """Number of failures of the folders of a run."""
    failed = 0
    for name, options in TARGETS.items():
        assert command.main(["export", str(run), *options, "--output", str(folder / name)]) == 0, name
    [model] = (folder / "triton/models").iterdir()
    config = parsed(model)
    check_ends(model / "1/model.onnx", config)
    failed += say("Triton", True, f"config.pbtxt is parsed, ONNX Runtime has its {sorted(shapes_of(config).items())}")
    paths = [path for path, _ in Run.open(run).test_images()]
    predictor = keras_vit.Predictor.open(run)
    reference = predictor.predict(paths)
    prepared = np.stack([predictor.prepare(path) for path in paths])
    spec = json.loads((model / "1/preprocessing.json").read_text())
    ours = np.stack([images_module(folder / "triton").prepare(path, spec) for path in paths])
    for runtime, place in (("onnx", "triton"), ("openvino", "ovms")):
        file = folder / place / "models" / model.name / "1/model.onnx"
        predict = getattr(replay, runtime)(file)
        for how, images, limit in (("as the Predictor's", prepared, PROBABILITIES), ("by images.py", ours, DECODERS)):
            given = batches(predict, images)["probabilities"]
            difference, same = np.abs(given - reference).max(), (given.argmax(-1) == reference.argmax(-1)).mean()
            text = f"{len(paths)} digits {how}: largest difference {difference:.1e}, same class {100 * same:.2f} %"
            failed += say(f"{runtime} of {place}", difference <= limit and same == 1, text)
    return failed


def backbone(real, folder):
    """Number of failures of the folders of the trained backbone, on crops of photographs."""
    crops = np.load(real / "crops.npz")["checked"]
    side = crops.shape[1]
    model = keras_vit.models.DINOv2S(
        include_top=False, weights=real / "timm.safetensors", input_shape=(side, side, 3), pooling="token"
    )
    Spec((side, side), IMAGENET.mean, IMAGENET.std, input_values="normalized").save(folder / "preprocessing.json")
    model.save(folder / "backbone.keras")
    shown = folder / "crops"
    shown.mkdir(exist_ok=True)
    for number, crop in enumerate(crops):
        Image.fromarray(crop).save(shown / f"{number:03}.png")
    for place in ("triton", "ovms", "tfserving"):
        options = ["--no-top", "--images", str(shown), "--max-images", "8", "--batch-sizes", "1", "8"]
        output = ["--target", place, "--output", str(folder / place)]
        assert command.main(["export", str(folder / "backbone.keras"), *options, *output]) == 0, place
    mean, std = (255 * np.array(one, "float32") for one in (IMAGENET.mean, IMAGENET.std))
    reference = model.predict((crops - mean) / std, batch_size=16, verbose=0)
    check_ends(folder / "triton/models/backbone/1/model.onnx", parsed(folder / "triton/models/backbone"))
    failed = 0
    runtimes = {"onnx": "triton", "openvino": "ovms"}
    for runtime, predict in [
        *((one, getattr(replay, one)(folder / at / "models/backbone/1/model.onnx")) for one, at in runtimes.items()),
        ("TensorFlow", saved_model(folder / "tfserving/models/backbone/1")),
    ]:
        given = batches(predict, crops)["embedding"]
        difference = np.abs(given - reference).max() / reference.std()
        cosines = (given * reference).sum(-1) / np.linalg.norm(given, axis=-1) / np.linalg.norm(reference, axis=-1)
        text = f"{len(crops)} crops: largest difference {difference:.1e} of the deviation, smallest cosine "
        failed += say(f"{runtime}, DINOv2-S", difference <= FEATURES, f"{text}{cosines.min():.7f}")
    return failed


def saved_model(folder):
    """predict_images of a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["predict_images"]
    return lambda images, kept=loaded: {name: x.numpy() for name, x in signature(images=tf.constant(images)).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("real")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    failed = run_of_digits(arguments.run, arguments.folder)
    if arguments.real != "none":
        place = arguments.folder / "backbone"
        place.mkdir()
        failed += backbone(Path(arguments.real), place)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
