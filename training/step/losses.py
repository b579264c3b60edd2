"""What training minimises: cross entropy against smoothed and mixed labels, and against a teacher.

Letters: B batch, K classes.
"""

from keras_vit.models import deit
from keras_vit.training.step.model import views


class Objective:
    """The loss of each image of a training batch, and the logits from which its accuracy is computed.

    Without a teacher: weights * CE(labels) + (1 - weights) * CE(partners), the cross entropy against the mixed labels.
    With one, DeiT's objective (arXiv:2012.12877): (1 - alpha) times that plus alpha times `distillation`. The class
    head of a distilled DeiT then learns from the labels and its distillation head from the teacher; any other model
    learns from both by the same logits.

    Args:
        sizes: further sizes (H, W) of the images that it is called with, besides the model's.
    Raises:
        ValueError: if the model takes no images of one of the sizes.
    """

    def __init__(self, model, recipe, sizes=()):
        self.recipe, names = recipe, {layer.name for layer in model.layers}
        self.two_heads = recipe.distillation != "none" and "head_dist" in names
        self.model = deit.two_heads(model) if self.two_heads else model
        self.views = views(self.model, sizes)

    def __call__(self, batch, teacher_log_probs=None):
        """Run the model on a batch in training mode.

        Args:
            batch: images (B, H, W, 3), labels, partners and weights (B,), as `batches.training_batches` gives them.
            teacher_log_probs: the teacher's log-probabilities, (B, K).
        Returns:
            Losses (B,) and logits (B, K).
        """
        model = self.views.get(tuple(batch[0].shape[1:3]), self.model)
        return self.of_outputs(model(batch[0], training=True), batch, teacher_log_probs)

    def of_outputs(self, outputs, batch, teacher_log_probs=None):
        """The same from outputs that `model` has already computed."""
        _, labels, partners, weights = batch
        own, student = outputs if self.two_heads else (outputs, outputs)
        losses = weights * cross_entropy(labels, own, self.recipe.smoothing)
        losses += (1 - weights) * cross_entropy(partners, own, self.recipe.smoothing)
        if teacher_log_probs is not None:
            alpha = self.recipe.distillation_alpha
            losses = (1 - alpha) * losses + alpha * distillation(self.recipe, teacher_log_probs, student)
        return losses, (own + student) / 2


def cross_entropy(labels, logits, smoothing=0.0):
    """Cross entropy per image, (B,), against 1 - smoothing on the label plus smoothing / K everywhere."""
    import tensorflow as tf

    logits = tf.cast(logits, tf.float32)
    log_p = tf.nn.log_softmax(logits)  # B K
    own = tf.gather(log_p, labels[:, None], batch_dims=1)[:, 0]  # B
    return -(1 - smoothing) * own - smoothing * tf.reduce_mean(log_p, axis=1)


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
    """How many images have the highest logit at their class; a mixed image counts as that of its larger part."""
    import tensorflow as tf

    _, labels, partners, weights = batch
    expected = tf.where(weights >= 0.5, labels, partners)
    first = tf.argmax(logits, axis=1, output_type=labels.dtype)
    return tf.reduce_sum(tf.cast(first == expected, tf.float32))
