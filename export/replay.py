"""Run artifacts as their users will: in a process of its own, with TensorFlow or LiteRT and nothing else.

Started by its path, not as a module, so that no package comes along; Keras and this library are made impossible to
import before anything else is. Reads a request and leaves the answers beside it:

    {"artifacts": [{"kind": "saved_model" or "tflite", "path": ..., "answers": file.npz}, ...],
     "files": [encoded pictures], "images": uint8 .npy (N, H, W, 3), "threads": int, "runs": timed runs, 0 for none}

answers: probabilities (N, K); for a SavedModel also classes, scores, class_ids, and where it has features embedding
(N, D); for a .tflite file delegation: how many operators XNNPACK runs, of how many, in how many partitions;
milliseconds of each run at batch 1.
"""

import importlib.machinery
import json
import sys
import time

REFUSED = ("keras", "keras_vit", "tf_keras")
BATCH = 32
WARM_UP = 5  # untimed runs


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
    """Answer the request in the file."""
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    import numpy as np

    images = np.load(request["images"], mmap_mode="r")
    kinds = {"saved_model": replay_saved_model, "tflite": replay_tflite}
    for artifact in request["artifacts"]:
        answers = kinds[artifact["kind"]](
            artifact["path"], request["files"], images, request["threads"], request["runs"]
        )
        loaded = [name for name in REFUSED if name in sys.modules]
        if loaded:
            raise RuntimeError(f"{artifact['path']} brought in {loaded}")
        np.savez(artifact["answers"], **answers)


def replay_saved_model(path, files, images, threads, runs):
    """The encoded files through serving_default and features, the images through predict_images."""
    import numpy as np
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    signatures = tf.saved_model.load(path).signatures
    predict = signatures["predict_images"]
    of_bytes = [signatures[name] for name in ("serving_default", "features") if name in signatures]
    parts = []
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        encoded = tf.constant([read(file) for file in files[some]])
        answers = dict(predict(images=tf.constant(images[some], tf.float32)))
        for signature in of_bytes:
            answers.update(signature(image_bytes=encoded))
        parts.append({key: value.numpy() for key, value in answers.items()})
    one = tf.constant(images[:1], tf.float32)
    answers = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    answers["classes"] = np.char.decode(answers["classes"].astype(bytes), "utf-8")
    return {
        **answers,
        "milliseconds": timed(lambda: predict(images=one)["probabilities"].numpy(), runs),
    }


def replay_tflite(path, files, images, threads, runs):
    """The images, one by one."""
    import numpy as np

    interpreter = tflite_interpreter(path, threads)
    predict = predictor_of(interpreter)
    probabilities = [predict(np.asarray(image, np.float32)[np.newaxis])[0] for image in images]
    one = np.asarray(images[:1], np.float32)
    return {
        "probabilities": np.stack(probabilities),
        "delegation": delegation(interpreter),
        "milliseconds": timed(lambda: predict(one), runs),
    }


def tflite_interpreter(path, threads):
    """LiteRT's interpreter, or TensorFlow's where that is not installed; on the CPU, which XNNPACK takes over."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def tflite_predictor(path, threads):
    """images (1, H, W, 3) in [0, 255] -> probabilities (1, K) as float32, from a .tflite file."""
    return predictor_of(tflite_interpreter(path, threads))


def predictor_of(interpreter):
    """The same of an interpreter; whole numbers are quantised and dequantised as the file says."""
    import numpy as np

    run = interpreter.get_signature_runner("serving_default")
    taken, given = run.get_input_details()["image"], run.get_output_details()["probabilities"]
    limits = None if taken["dtype"] == np.float32 else np.iinfo(taken["dtype"])

    def predict(image):
        if limits is not None:
            scale, zero = taken["quantization"]
            image = np.clip(np.round(image / scale + zero), limits.min, limits.max).astype(taken["dtype"])
        answer = run(image=image)["probabilities"]
        if given["dtype"] != np.float32:
            scale, zero = given["quantization"]
            answer = (answer.astype(np.float32) - zero) * np.float32(scale)
        return answer

    return predict


def delegation(interpreter):
    """(operators that delegates run, operators, partitions).

    The interpreter lists the file's operators and, after them, one DELEGATE per partition. A partition runs whatever
    lies between the tensors it takes and those it gives.
    """
    listed = interpreter._get_ops_details()
    own = [operator for operator in listed if operator["op_name"] != "DELEGATE"]
    giver = {int(tensor): number for number, operator in enumerate(own) for tensor in operator["outputs"]}
    partitions = [operator for operator in listed if operator["op_name"] == "DELEGATE"]
    taken = set()
    for partition in partitions:
        edge, waiting = set(map(int, partition["inputs"])), list(map(int, partition["outputs"]))
        while waiting:
            tensor = waiting.pop()
            number = giver.get(tensor)
            if tensor not in edge and number is not None and number not in taken:
                taken.add(number)
                waiting.extend(map(int, own[number]["inputs"]))
    return len(taken), len(own), len(partitions)


def timed(call, runs):
    """Milliseconds of each of `runs` calls, after a warm-up; nothing for 0."""
    milliseconds = []
    for number in range(WARM_UP + runs if runs else 0):
        start = time.perf_counter()
        call()
        if number >= WARM_UP:
            milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    main(sys.argv[1])
