"""The teacher of a distillation: any model that gives scores of the same classes, run inside the training step.

The teacher sees the very pictures that the student sees, augmented and mixed (arXiv:2012.12877, Sec. 4), but prepared
as it was trained: its own mean and standard deviation, and its own size.
Letters: B batch, H W grid, K classes.
"""

import functools
from pathlib import Path

from keras_vit import artifacts
from keras_vit.preprocessing import Spec, normalizes_inside, resolve_row
from keras_vit.runs import RUN, SPEC, Run, load_keras_model
from keras_vit.training.model import compiles

EXPECTED = (
    f"a run folder, a .keras file with a {SPEC} beside it, a SavedModel, or a model's name with weights, such as "
    "ConvNeXtT or SwinT.ms_in22k_ft_in1k"
)


def open_teacher(recipe, spec, classes):
    """The recipe's teacher as a function of the student's pictures; None without one.

    Call it in the scope of the strategy. `recipe.teacher` is one of

    - a run folder, whose labels must be the classes;
    - a .keras file, prepared for as the preprocessing.json beside it says;
    - a SavedModel (its folder, or that of its versions): the signature predict_images of this library's bundles, else
      any signature with a single input (B, H, W, 3) of floats; prepared for as the preprocessing.json in its assets/
      or beside it says. predict_images takes pixels, others what that file makes of them;
    - a model's name of the zoo with published weights.

    Whether the outputs are probabilities or logits is told by their values.

    Args:
        spec: how the student's pictures are prepared.
        classes: names of the K classes.
    Returns:
        A function: pictures (B, H, W, 3), normalised by `spec` -> log-probabilities (B, K), constants for gradients.
    Raises: ValueError for a teacher that is none of these, or of other classes.
    """
    if recipe.teacher is None:
        return None
    import tensorflow as tf

    forward, as_pixels, own = _open(recipe.teacher, classes)
    probabilities = _check_scores(forward, own, len(classes), recipe.teacher)
    rows, columns = (_resampling(a, b, own.interpolation) for a, b in zip(spec.size, own.size))

    def teacher(images):
        pixels = (images * spec.std + spec.mean) * 255.0
        if spec.size != own.size:
            pixels = tf.clip_by_value(tf.einsum("ph,bhwc,qw->bpqc", rows, pixels, columns), 0.0, 255.0)
        scores = forward(pixels if as_pixels else (pixels / 255.0 - own.mean) / own.std)
        scores = tf.stop_gradient(tf.cast(scores, tf.float32))
        return tf.math.log(tf.maximum(scores, 1e-30)) if probabilities else tf.nn.log_softmax(scores)

    # What a SavedModel holds need not be fit for XLA.
    compiled = isinstance(forward, functools.partial) and compiles(recipe)
    return tf.function(teacher, jit_compile=True, autograph=False) if compiled else teacher


def _open(source, classes):
    """(function of prepared pictures, whether it takes pixels in [0, 255], its Spec)."""
    path = Path(source)
    if (path / RUN).is_file():
        run = Run.open(path)
        if run.labels != tuple(classes):
            raise ValueError(
                f"teacher={path}: expected the classes of the data, in their order: {_some(classes)}. "
                f"Received: {_some(run.labels)}."
            )
        return *_keras(run.load_model()), run.spec
    if path.suffix == ".keras" and path.is_file():
        return *_keras(load_keras_model(path)), _spec_in(path, path.parent)
    if path.is_dir() and artifacts.is_saved_model(path):
        return _saved_model(artifacts.version_folder(path))
    if path.exists():
        raise ValueError(f"teacher={path}: expected {EXPECTED}.")
    return _named(source)


def _keras(model):
    return functools.partial(model, training=False), normalizes_inside(model)


def _named(name):
    from keras_vit.zoo import create_model

    try:
        row = resolve_row(name)
    except ValueError as error:
        raise ValueError(f"teacher: expected {EXPECTED}. Received: {name}. {error}") from error
    if not row.classes:
        raise ValueError(f"teacher: {row.name} was published without a classifier; it cannot teach classes.")
    return *_keras(create_model(row.name, input_shape=(*row.size, 3), classes=row.classes)), row.spec


def _saved_model(folder):
    loaded = artifacts.load_saved_model(folder)
    names = [name for name in ("predict_images", *loaded.signatures) if _input(loaded.signatures.get(name))]
    if not names:
        raise ValueError(
            f"teacher={folder}: expected a signature with one input, float pictures (B, H, W, 3). "
            f"It has: {', '.join(loaded.signatures) or 'none'}."
        )
    signature = loaded.signatures[names[0]]
    image, dtype = _input(signature)
    outputs = signature.structured_outputs
    output = "probabilities" if "probabilities" in outputs else next(iter(outputs))

    def forward(pictures):
        import tensorflow as tf

        return signature(**{image: tf.cast(pictures, dtype)})[output]

    forward.loaded = loaded  # its variables live only as long as it does
    assets = folder / "assets"
    spec = _spec_in(folder, assets if (assets / SPEC).is_file() else folder)
    return forward, names[0] == "predict_images", spec


def _input(signature):
    """(name, dtype) of a signature's only input, if it takes pictures, else None."""
    inputs = signature.structured_input_signature[1] if signature is not None else {}
    (name, tensor), *more = inputs.items() or [(None, None)]
    fits = tensor is not None and tensor.shape.rank == 4 and tensor.shape[-1] == 3 and tensor.dtype.is_floating
    return (name, tensor.dtype) if fits and not more else None


def _spec_in(path, folder):
    if not (folder / SPEC).is_file():
        raise ValueError(
            f"teacher={path} does not say how its pictures are prepared. Put a {SPEC}, as run folders have it, "
            f"into {folder}."
        )
    return Spec.load(folder / SPEC)


def _check_scores(forward, spec, classes, name):
    """Whether the outputs are probabilities; ValueError unless they are (B, K)."""
    import tensorflow as tf

    strategy, pictures = tf.distribute.get_strategy(), tf.random.stateless_uniform((2, *spec.size, 3), (0, 0))
    try_out = tf.function(lambda: strategy.run(forward, args=(pictures,)), autograph=False)
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
    """The matrix (after, before) that resizes along an axis, antialiased: what `tf.image.resize` makes of unit vectors.

    As a product of matrices resizing runs on GPUs and under XLA, which have no kernel for the antialiased form.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        units = tf.eye(before)[:, :, None]
        return tf.image.resize(units, (after, before), interpolation, antialias=True)[:, :, 0].numpy()


def _some(names):
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
