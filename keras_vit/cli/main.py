# PYTHON_ARGCOMPLETE_OK
"""The `keras-vit` command: a table of verbs, each a module that is imported when it is called.

A verb's module has `parser()`, which imports neither Keras nor TensorFlow, and `main(argv)`, which parses, starts
TensorFlow where the verb needs it (`keras_vit.system.startup`), and returns the exit status.
"""

import difflib
import importlib
import os
import sys

from keras_vit.system import ends

VERBS = {
    "list": ("list", "names of the models, with size and weights"),
    "info": ("info", "one model: paper, parameters, weights, licence, preprocessing"),
    "download": ("download", "fetch published weights into the cache"),
    "predict": ("predict", "labels and scores for images"),
    "embed": ("embed", "a vector for each image, into a file"),
    "merge": ("merge", "the parts of predict, embed or prepare-data --shard, as one"),
    "neighbours": ("neighbours", "the nearest images, by their vectors"),
    "inspect": ("inspect", "what models have learned and where they look, as a page of figures"),
    "validate": ("validate", "accuracy, confusions and calibration over a data set"),
    "check-data": ("check_data", "what is wrong with the images of a data set"),
    "prepare-data": ("prepare_data", "TFRecord shards of a data set, for training"),
    "train": ("train", "train or fine-tune under tf.distribute"),
    "export": ("export", "a SavedModel for TF Serving"),
    "serve": ("serve", "a page to try models on, and TF Serving's REST calls, for development"),
    "convert": ("convert", ".tflite files for phones and other small devices"),
    "compare": ("compare", "a model and its artifacts side by side"),
    "push": ("push", "a run or model to the Hugging Face hub, with a model card"),
}
EXTRAS = {  # module that is missing -> the extra that brings it
    "rich": "train",
    "yaml": "train",
    "sklearn": "train",
    "tensorboard": "train",
    "tensorflow_datasets": "train",
    "matplotlib": "plots",
    "ai_edge_litert": "edge",
    "onnx": "onnx",
    "tf2onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "starlette": "serve",
    "uvicorn": "serve",
    "grpc": "grpc",
    "tensorflow_serving": "grpc",
    "pyarrow": "parquet",
    "fsspec": "cloud",
    "s3fs": "cloud",
}


def main(argv=None):
    """Run one verb. Returns 0, 1 after an error, 2 after wrong usage."""
    if "_ARGCOMPLETE" in os.environ:  # the shell asks, at the tab key
        from keras_vit.cli import completion

        completion.complete(parsers())
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        import keras_vit

        print(f"keras-vit {keras_vit.__version__}")
        return 0
    verb, arguments = argv[0], argv[1:]
    if verb not in VERBS:
        return fail(None, f"{verb!r} is no verb. {_closest(verb)}`keras-vit --help` lists them.", 2)
    return run(verb, arguments)


def module_of(verb):
    """The verb's module."""
    return importlib.import_module(f"keras_vit.cli.{VERBS[verb][0]}")


def parsers():
    """{verb: (its line of help, its parser)}."""
    return {verb: (line, module_of(verb).parser()) for verb, (_, line) in VERBS.items()}


def run(verb, arguments):
    """Call the verb's `main`; an error that a user can act on becomes a sentence, and so does the end by a signal."""
    try:
        with ends.working():
            return module_of(verb).main(arguments) or 0
    except KeyboardInterrupt:
        return fail(verb, "interrupted", 130)
    except Exception as error:
        if ends.received() is not None:  # what was interrupted may say so in its own way
            return fail(verb, "interrupted", 128 + ends.received())
        return _explain(verb, error)


def _explain(verb, error):
    """Print what a user can act on and return the status; raise what is a defect."""
    if isinstance(error, BrokenPipeError):  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, ImportError):
        return fail(verb, f"{error}{_remedy(error)}")
    if isinstance(error, (ValueError, OSError)):
        return fail(verb, error)
    raise error


def usage():
    """What `keras-vit --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {line}" for verb, (_, line) in VERBS.items())
    return (
        "usage: keras-vit VERB ...\n\nVision transformers for Keras 3, from published weights to "
        f"phones and servers.\n\n{verbs}\n\n`keras-vit VERB --help` tells more."
    )


def fail(verb, message, status=1):
    """Print the message to stderr; returns the exit status."""
    print(f"keras-vit {verb}: {message}" if verb else f"keras-vit: {message}", file=sys.stderr)
    return status


def _closest(verb):
    near = difflib.get_close_matches(verb, VERBS, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _remedy(error):
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return f". Run: pip install 'keras-vit-models[{extra}]'" if extra else ""
