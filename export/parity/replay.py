"""Run artifacts as their users will: in a process of its own, with TensorFlow or LiteRT and nothing else.

Started by its path, not as a module, so that no package comes along; Keras and this library are made impossible to
import before anything else is imported. Reads a request and writes the outputs to the files that it names:

    {"artifacts": [{"kind": "saved_model" or "tflite", "path": ..., "outputs": file.npz}, ...],
     "files": [encoded images], "images": uint8 .npy (N, H, W, 3), "threads": int, "runs": timed runs, 0 for none,
     "interpreter": path of keras_vit/prediction/tflite_interpreter.py}

outputs: probabilities (N, K) and milliseconds of each run at batch 1; known_score (N,) of a model that can tell unknown
images; of a model without a classifier its features by name. For a SavedModel also what serving_default gives, classes,
scores, class_ids and so on, what predict_images gives too as known_score_of_files; where it has features, embedding
(N, D); and what its signatures of images of any size give for the first images, each twice beside itself:
features_of_images.embedding, maps_of_images.P2. For a .tflite file also delegation: number of operators that XNNPACK
runs, of all operators, and of partitions.
"""

import importlib.machinery
import importlib.util
import json
import sys
import time

REFUSED = ("keras", "keras_vit", "tf_keras")
BATCH = 32
WARM_UP = 5  # untimed runs
FEW = 4  # images of another size


class Refuse:
    """Finds the refused packages and cannot load them: TensorFlow looks for Keras and does without it."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in REFUSED:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=f"/refused/{name}/__init__.py")

    def create_module(self, spec):
        raise ImportError(f"{spec.name} is refused here: the artifact must run without it", name=spec.name)

    def exec_module(self, module):
        """Never reached."""


def main(request_path):
    """Run the artifacts of the request in the file."""
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    import numpy as np

    images = np.load(request["images"], mmap_mode="r")
    for artifact in request["artifacts"]:
        if artifact["kind"] == "tflite":
            outputs = replay_tflite(artifact["path"], images, request)
        else:
            outputs = replay_saved_model(artifact["path"], images, request)
        loaded = [name for name in REFUSED if name in sys.modules]
        if loaded:
            raise RuntimeError(f"{artifact['path']} imported {loaded}")
        np.savez(artifact["outputs"], **outputs)


def replay_saved_model(path, images, request):
    """The encoded files through serving_default and features, the images through predict_images."""
    import numpy as np
    import tensorflow as tf

    files, threads = request["files"], request["threads"]
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    signatures = tf.saved_model.load(path).signatures
    predict = signatures["predict_images"]
    of_bytes = [signatures[name] for name in ("serving_default", "features") if name in signatures]
    batches = []
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        encoded = tf.constant([read(file) for file in files[batch]])
        outputs = dict(predict(images=tf.constant(images[batch], tf.float32)))
        for signature in of_bytes:
            given = signature(image_bytes=encoded)
            outputs |= {f"{name}_of_files" if name in outputs else name: value for name, value in given.items()}
        batches.append({key: value.numpy() for key, value in outputs.items()})
    one = tf.constant(images[:1], tf.float32)
    outputs = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    for name in sorted(signatures):
        if name.endswith("_of_images"):
            given = signatures[name](images=tf.constant(twice(images), tf.float32))
            outputs |= {f"{name}.{key}": value.numpy() for key, value in given.items()}
    if "classes" in outputs:
        outputs["classes"] = np.char.decode(outputs["classes"].astype(bytes), "utf-8")
    milliseconds = timed(lambda: [value.numpy() for value in predict(images=one).values()], request["runs"])
    return {**outputs, "milliseconds": milliseconds}


def twice(images):
    """The first images, each beside itself: of another size than the model's.  (N, H, W, 3) -> (n, H, 2 W, 3)."""
    import numpy as np

    return np.concatenate([images[:FEW], images[:FEW]], 2)


def replay_tflite(path, images, request):
    """The images, one by one."""
    import numpy as np

    tflite = module_at(request["interpreter"])
    interpreter = tflite.open_interpreter(path, request["threads"])
    names = tflite.output_names(interpreter)
    predict, one = tflite.signature_predictor(interpreter, names), np.asarray(images[:1], np.float32)
    found = [predict(np.asarray(image, np.float32)[np.newaxis]) for image in images]
    outputs = dict(zip(names, map(np.concatenate, zip(*found) if len(names) > 1 else [found])))
    if tflite.KNOWN_SCORE in outputs:
        outputs[tflite.KNOWN_SCORE] = outputs[tflite.KNOWN_SCORE][:, 0]
    return {
        **outputs,
        "delegation": delegation(interpreter),
        "milliseconds": timed(lambda: predict(one), request["runs"]),
    }


def module_at(path):
    """The module in a file, without its package."""
    spec = importlib.util.spec_from_file_location("tflite_interpreter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def delegation(interpreter):
    """(operators that delegates run, operators, partitions).

    The interpreter lists the file's operators and, after them, one DELEGATE per partition. A partition runs everything
    between its input and its output tensors.
    """
    listed = interpreter._get_ops_details()
    own = [operator for operator in listed if operator["op_name"] != "DELEGATE"]
    producer = {int(tensor): number for number, operator in enumerate(own) for tensor in operator["outputs"]}
    partitions = [operator for operator in listed if operator["op_name"] == "DELEGATE"]
    delegated = set()
    for partition in partitions:
        edge, waiting = set(map(int, partition["inputs"])), list(map(int, partition["outputs"]))
        while waiting:
            tensor = waiting.pop()
            number = producer.get(tensor)
            if tensor not in edge and number is not None and number not in delegated:
                delegated.add(number)
                waiting.extend(map(int, own[number]["inputs"]))
    return len(delegated), len(own), len(partitions)


def timed(call, runs):
    """Milliseconds of each of `runs` calls, after a warm-up; [] for 0."""
    milliseconds = []
    for number in range(WARM_UP + runs if runs else 0):
        start = time.perf_counter()
        call()
        if number >= WARM_UP:
            milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def read(path):
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    main(sys.argv[1])
