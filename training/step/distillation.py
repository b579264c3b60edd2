"""The teacher of a distillation: any model with scores of the same classes, run inside the training step.

The teacher is run on the student's images, augmented and mixed (arXiv:2012.12877, Sec. 4), prepared as it was trained:
with its own mean, standard deviation and size.
Letters: B batch, H W grid, K classes.
"""

import functools

from keras_vit.prediction import runtimes
from keras_vit.prediction.activations import as_probabilities
from keras_vit.prediction.classifier import as_functional
from keras_vit.prediction.predictor import ONE_OF_TWO
from keras_vit.preprocessing import Spec, as_taken, find_input_values
from keras_vit.sources.resolve import resolve
from keras_vit.sources.run_folder import SPEC, Run, load_keras_model

TEACHERS = ("run", "keras", "saved_model", "library", "published")


def open_teacher(recipe, spec, classes, *, compiled=False, sizes=()):
    """The recipe's teacher as a function of the student's images; None without one.

    Call it in the scope of the strategy. `recipe.teacher` is one of

    - a run folder, whose labels must be the classes;
    - a .keras file with its preprocessing.json beside it;
    - a SavedModel (its folder, or that of its versions) with a preprocessing.json in its assets/ or in the folder: the
      signature predict_images of this library's bundles, which takes pixels, else any signature with a single float
      input (B, H, W, 3), which takes prepared images;
    - a folder of transformers or timm that states its preprocessing, whose labels must be the classes;
    - the name of a model with published weights.

    Whether the outputs are probabilities or logits is inferred from their values; what a Keras model takes, pixels or
    normalised values, as everywhere (`preprocessing.find_input_values`), and a preprocessing.json may say it.

    Args:
        spec: the preprocessing of the student's images.
        classes: names of the K classes.
        compiled: whether XLA compiles the teacher, if it is a Keras model.
        sizes: sizes (H, W) of the student's images besides that of `spec`.
    Returns:
        A function from images (B, H, W, 3), normalised by `spec`, to log-probabilities (B, K), constants for gradients.
    Raises:
        ValueError: for a teacher that is none of these, or of other classes.
    """
    if recipe.teacher is None:
        return None
    import tensorflow as tf

    forward, values, own = _open(recipe.teacher, classes)
    probabilities = _outputs_probabilities(forward, own, len(classes), recipe.teacher)
    to_own = {
        tuple(size): [_resampling(a, b, own.interpolation) for a, b in zip(size, own.size)]
        for size in (spec.size, *sizes)
    }

    def teacher(images):
        pixels, size = (images * spec.std + spec.mean) * 255.0, tuple(images.shape[1:3])
        if size != own.size:
            rows, columns = to_own[size]
            pixels = tf.clip_by_value(tf.einsum("ph,bhwc,qw->bpqc", rows, pixels, columns), 0.0, 255.0)
        scores = forward(as_taken(pixels, own, values))
        scores = tf.stop_gradient(tf.cast(scores, tf.float32))
        return tf.math.log(tf.maximum(scores, 1e-30)) if probabilities else tf.nn.log_softmax(scores)

    # XLA need not support what is in a SavedModel.
    compiled = compiled and isinstance(forward, functools.partial)
    return tf.function(teacher, jit_compile=True, autograph=False) if compiled else teacher


def _open(source, classes):
    """(function of images, which values it takes, of INPUT_VALUES, its Spec)."""
    found = resolve(source, TEACHERS, "teacher")
    if found.kind == "published":
        return _published(found.row, classes)
    if found.kind == "saved_model":
        return _saved_model(found.path)
    if found.kind == "keras":
        spec = _spec_in(found.path, found.folder)
        return *_keras(load_keras_model(found.path), spec, classes, found.input_values()), spec
    if found.kind == "library":
        _require_classes(source, found.labels() or tuple(classes), classes)
        return _library(found, classes)
    run = Run.open(found.path)
    _require_classes(source, run.labels, classes)
    return *_keras(run.load_model(), run.spec, classes, found.input_values()), run.spec


def _require_classes(source, labels, classes):
    if labels != tuple(classes):
        raise ValueError(
            f"teacher={source}: expected the classes of the data, in their order: {_some(classes)}. "
            f"Received: {_some(labels)}."
        )


def _library(found, classes):
    from keras_vit.models.create import create_from_folder

    spec = found.spec()
    if spec is None:
        raise ValueError(f"teacher={found.path} does not say how its images are prepared. Put a {SPEC} into it.")
    model = create_from_folder(found.path, include_top=True, input_shape=(*spec.size, 3))
    return *_keras(model, spec, classes, found.input_values()), spec


def _keras(model, spec, classes, recorded):
    model = as_functional(model, spec.size)
    values = find_input_values(model, spec.size, recorded)
    if (model.output_shape[-1], len(classes)) != ONE_OF_TWO:
        return functools.partial(model, training=False), values
    return functools.partial(_of_two, model, as_probabilities(model, spec.size, len(classes))), values


def _of_two(model, finish, images):
    return finish(model(images, training=False))


def _published(row, classes):
    from keras_vit.models.create import create_published

    if not row.classes:
        raise ValueError(f"teacher: {row.name} was published without a classifier; it cannot be a teacher.")
    return *_keras(create_published(row), row.spec, classes, "normalized"), row.spec


def _saved_model(folder):
    loaded = runtimes.load_saved_model(folder)
    names = [name for name in ("predict_images", *loaded.signatures) if _input(loaded.signatures.get(name))]
    if not names:
        raise ValueError(
            f"teacher={folder}: expected a signature with one input, float images (B, H, W, 3). "
            f"It has: {', '.join(loaded.signatures) or 'none'}."
        )
    signature = loaded.signatures[names[0]]
    image, dtype = _input(signature)
    outputs = signature.structured_outputs
    output = "probabilities" if "probabilities" in outputs else next(iter(outputs))

    def forward(images):
        import tensorflow as tf

        return signature(**{image: tf.cast(images, dtype)})[output]

    forward.loaded = loaded  # keeps its variables alive
    assets = folder / "assets"
    spec = _spec_in(folder, assets if (assets / SPEC).is_file() else folder)
    return forward, "pixels" if names[0] == "predict_images" else spec.input_values or "normalized", spec


def _input(signature):
    """(name, dtype) of a signature's only input if it takes images, else None."""
    inputs = signature.structured_input_signature[1] if signature is not None else {}
    (name, tensor), *more = inputs.items() or [(None, None)]
    fits = tensor is not None and tensor.shape.rank == 4 and tensor.shape[-1] == 3 and tensor.dtype.is_floating
    return (name, tensor.dtype) if fits and not more else None


def _spec_in(path, folder):
    if not (folder / SPEC).is_file():
        raise ValueError(
            f"teacher={path} does not say how its images are prepared. Put a {SPEC}, as run folders have it, "
            f"into {folder}."
        )
    return Spec.load(folder / SPEC)


def _outputs_probabilities(forward, spec, classes, name):
    """Whether the outputs are probabilities; ValueError unless their shape is (B, K)."""
    import tensorflow as tf

    strategy, images = tf.distribute.get_strategy(), tf.random.stateless_uniform((2, *spec.size, 3), (0, 0))
    try_out = tf.function(lambda: strategy.run(forward, args=(images,)), autograph=False)
    scores = strategy.experimental_local_results(try_out())[0]
    scores = tf.cast(scores, tf.float32)
    if scores.shape.rank != 2 or scores.shape[1] != classes:
        raise ValueError(
            f"teacher={name}: expected scores of {classes} classes, as the data has. "
            f"Received outputs of shape {tuple(scores.shape)}; a teacher is trained on the same classes."
        )
    off = tf.abs(tf.reduce_sum(scores, axis=1) - 1)
    return bool(tf.reduce_all(scores >= 0)) and bool(tf.reduce_all(off < 1e-3))


def _resampling(before, after, interpolation):
    """The matrix (after, before) that resizes along an axis, antialiased: `tf.image.resize` of unit vectors.

    As a matrix product resizing runs on GPUs and under XLA, which have no kernel for the antialiased form.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        units = tf.eye(before)[:, :, None]
        return tf.image.resize(units, (after, before), interpolation, antialias=True)[:, :, 0].numpy()


def _some(names):
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
