"""What training minimises: a loss against smoothed and mixed labels, and against a teacher.

A single label per image is a number in [0, K), and labels (B,). Several labels per image are 1 for each that it has,
and labels (B, K); each class is then a question of its own, and its logit gets a sigmoid.
Letters: B batch, K classes.
"""

from keras_vit.models import deit
from keras_vit.training.step import recompute
from keras_vit.training.step.model import views

TINY = 1e-8  # keeps powers of probabilities, and their gradients, finite


class Objective:
    """The loss of each image of a training batch, and the logits from which its accuracy is computed.

    Without a teacher: weights * loss(labels) + (1 - weights) * loss(partners), the loss against the mixed labels.
    With one, DeiT's objective (arXiv:2012.12877): (1 - alpha) times that plus alpha times `distillation`. The class
    head of a distilled DeiT then learns from the labels and its distillation head from the teacher; any other model
    learns from both by the same logits.

    Args:
        sizes: further sizes (H, W) of the images that it is called with, besides the model's.
        class_weights: (K,), what each class weighs; None for 1 each.
        multi_label: whether images have several labels.
    Raises:
        ValueError: if the model takes no images of one of the sizes.
    """

    def __init__(self, model, recipe, sizes=(), class_weights=None, multi_label=False):
        self.recipe, names = recipe, {layer.name for layer in model.layers}
        self.two_heads = recipe.distillation != "none" and "head_dist" in names
        self.model = deit.two_heads(model) if self.two_heads else model
        self.views = views(self.model, sizes)
        self.loss = label_loss(recipe, class_weights, multi_label)

    def __call__(self, batch, teacher_log_probs=None):
        """Run the model on a batch in training mode.

        Args:
            batch: images (B, H, W, 3), labels, partners and weights (B,), as `batches.training_batches` gives them.
            teacher_log_probs: the teacher's log-probabilities, (B, K).
        Returns:
            Losses (B,) and logits (B, K).
        """
        model = self.views.get(tuple(batch[0].shape[1:3]), self.model)
        again = self.recipe.grad_checkpointing
        outputs = recompute.forward(model, batch[0]) if again else model(batch[0], training=True)
        return self.of_outputs(outputs, batch, teacher_log_probs)

    def of_outputs(self, outputs, batch, teacher_log_probs=None):
        """The same from outputs that `model` has already computed."""
        _, labels, partners, weights = batch
        own, student = outputs if self.two_heads else (outputs, outputs)
        losses = weights * self.loss(labels, own) + (1 - weights) * self.loss(partners, own)
        if teacher_log_probs is not None:
            alpha = self.recipe.distillation_alpha
            losses = (1 - alpha) * losses + alpha * distillation(self.recipe, teacher_log_probs, student)
        return losses, (own + student) / 2


def loss_name(recipe, multi_label):
    """The loss that a recipe takes: what it names, or for "auto" what fits the labels.

    Raises:
        ValueError: if it does not fit them.
    """
    if recipe.loss == "auto":
        return "bce" if multi_label else "cross_entropy"
    wrong = "cross_entropy" if multi_label else "asymmetric"
    if recipe.loss == wrong:
        fits = "bce, focal or asymmetric" if multi_label else "cross_entropy, bce or focal"
        have = "several labels, which do not exclude each other" if multi_label else "one label each"
        raise ValueError(f"loss={wrong!r} does not fit images that have {have}. Give {fits}.")
    return recipe.loss


def label_loss(recipe, class_weights=None, multi_label=False):
    """The function (labels, logits (B, K)) -> losses (B,) of a recipe.

    Of one label per image, a class's weight multiplies the losses of its images; of several labels, the part of the
    loss that asks for the class in images that have it.
    """
    name = loss_name(recipe, multi_label)
    if multi_label:
        return lambda labels, logits: binary_loss(recipe, name, labels, logits, class_weights)

    def loss(labels, logits):
        import tensorflow as tf

        losses = _single_label_loss(recipe, name, labels, logits)
        return losses if class_weights is None else losses * tf.gather(tf.constant(class_weights), labels)

    return loss


def _single_label_loss(recipe, name, labels, logits):
    import tensorflow as tf

    if name == "bce":
        return binary_loss(recipe, name, tf.one_hot(labels, logits.shape[1]), logits, classes_exclude=True)
    losses = cross_entropy(labels, logits, recipe.smoothing)
    return losses * _focus(labels, logits, recipe.focal_gamma) if name == "focal" else losses


def cross_entropy(labels, logits, smoothing=0.0):
    """Cross entropy per image, (B,), against 1 - smoothing on the label plus smoothing / K everywhere."""
    import tensorflow as tf

    log_p = tf.nn.log_softmax(tf.cast(logits, tf.float32))  # B K
    return -(1 - smoothing) * _of_labels(log_p, labels) - smoothing * tf.reduce_mean(log_p, axis=1)


def _focus(labels, logits, gamma):
    """(1 - p)^gamma of the label's probability p, (B,): the factor of the focal loss, arXiv:1708.02002, Eq. 4."""
    import tensorflow as tf

    p = _of_labels(tf.nn.softmax(tf.cast(logits, tf.float32)), labels)
    return tf.maximum(1 - p, TINY) ** gamma


def _of_labels(values, labels):
    """What each image has of (B, K) at its label, (B,)."""
    import tensorflow as tf

    return tf.gather(values, labels[:, None], batch_dims=1)[:, 0]


def binary_cross_entropy(labels, logits):
    """-y log p - (1 - y) log(1 - p), p of the sigmoid, averaged over the classes: of (B, K) each, (B,)."""
    import tensorflow as tf

    return tf.reduce_mean(tf.nn.softplus(logits) - tf.cast(labels, tf.float32) * logits, axis=1)


def binary_loss(recipe, name, labels, logits, class_weights=None, classes_exclude=False):
    """The loss of each class as a question of its own, averaged over the classes, (B,).

    bce         -y log p - (1 - y) log(1 - p)
    focal       -y (1 - p)^g log p - (1 - y) p^g log(1 - p); arXiv:1708.02002, Eq. 4
    asymmetric  -y (1 - p)^a log p - (1 - y) q^b log(1 - q), q = max(p - m, 0); arXiv:2009.14119, Eq. 5 to 7

    with p of the sigmoid, g = focal_gamma, (a, b) = asymmetric_gammas and m = asymmetric_clip. The papers sum over the
    classes; here it is the mean, as in DeiT III's and timm's bce, so that a learning rate suits any number of classes.

    Args:
        labels: (B, K), 0 or 1.
        class_weights: (K,), factors of the terms with y.
        classes_exclude: whether exactly one class is right: smoothing then gives smoothing / K to every class, as with
            `cross_entropy`; else smoothing / 2, each class being a question with two answers.
    """
    import tensorflow as tf

    x, y = tf.cast(logits, tf.float32), tf.cast(labels, tf.float32)
    y = y * (1 - recipe.smoothing) + recipe.smoothing / (x.shape[1] if classes_exclude else 2)
    has, has_not = tf.nn.softplus(-x), tf.nn.softplus(x)  # -log p, -log(1 - p)
    if name == "focal":
        has, has_not = (own * tf.exp(-recipe.focal_gamma * other) for own, other in ((has, has_not), (has_not, has)))
    elif name == "asymmetric":
        a, b = recipe.asymmetric_gammas
        q = tf.maximum(tf.sigmoid(x) - recipe.asymmetric_clip, TINY)
        has, has_not = has * tf.exp(-a * has_not), -tf.math.log1p(-q) * q**b
    if class_weights is not None:
        has *= tf.constant(class_weights)
    return tf.reduce_mean(y * has + (1 - y) * has_not, axis=1)


def distillation(recipe, teacher_log_probs, logits):
    """The distillation term of the loss per image, (B,).

    Soft (Eq. 2): tau^2 KL(teacher || student), both softened by tau. Hard (Eq. 3): cross entropy against the
    teacher's top class.
    """
    import tensorflow as tf

    if recipe.distillation == "hard":
        return cross_entropy(tf.argmax(teacher_log_probs, axis=1, output_type=tf.int32), logits)
    tau = recipe.distillation_tau
    log_t, log_s = (tf.nn.log_softmax(tf.cast(x, tf.float32) / tau) for x in (teacher_log_probs, logits))
    return tau**2 * tf.reduce_sum(tf.exp(log_t) * (log_t - log_s), axis=1)


def count_correct(batch, logits):
    """How many images have the highest logit at their class, or of several labels exactly those with p >= 0.5.

    A mixed image counts as that of its larger part.
    """
    import tensorflow as tf

    _, labels, partners, weights = batch
    own = weights >= 0.5
    if len(labels.shape) == 2:
        expected = tf.where(own[:, None], labels, partners)
        right = tf.reduce_all((logits >= 0) == (expected > 0), axis=1)
    else:
        right = tf.argmax(logits, axis=1, output_type=labels.dtype) == tf.where(own, labels, partners)
    return tf.reduce_sum(tf.cast(right, tf.float32))
