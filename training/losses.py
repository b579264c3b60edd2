"""What training minimises: cross entropy against smoothed and mixed labels, and against a teacher.

Letters: B batch, K classes.
"""

from keras_vit.models import deit


class Objective:
    """The loss of each picture of a training batch, and the logits that it is judged by.

    Without a teacher: cross entropy, weights * CE(labels) + (1 - weights) * CE(partners), which is that against the
    mixed labels. With one, DeiT's (arXiv:2012.12877): (1 - alpha) of it, and alpha of `distillation`. A distilled DeiT
    then learns from the labels by its class head and from the teacher by its distillation head; any other model does
    both by the same logits.
    """

    def __init__(self, model, recipe):
        self.recipe, names = recipe, {layer.name for layer in model.layers}
        self.two_heads = recipe.distillation != "none" and "head_dist" in names
        self.model = deit.two_heads(model) if self.two_heads else model

    def __call__(self, batch, taught=None):
        """(losses (B,), logits (B, K)).

        Args:
            batch: images (B, H, W, 3), labels, partners and weights (B,), as `data.training_batches` gives them.
            taught: log-probabilities of the teacher, (B, K).
        """
        return self.judge(self.model(batch[0], training=True), batch, taught)

    def judge(self, outputs, batch, taught=None):
        """The same from the outputs of `model` for the batch."""
        _, labels, partners, weights = batch
        own, student = outputs if self.two_heads else (outputs, outputs)
        losses = weights * cross_entropy(labels, own, self.recipe.smoothing)
        losses += (1 - weights) * cross_entropy(partners, own, self.recipe.smoothing)
        if taught is not None:
            alpha = self.recipe.distillation_alpha
            losses = (1 - alpha) * losses + alpha * distillation(self.recipe, taught, student)
        return losses, (own + student) / 2


def cross_entropy(labels, logits, smoothing=0.0):
    """Cross entropy per picture, (B,), against 1 - smoothing on the label plus smoothing / K everywhere."""
    import tensorflow as tf

    logits = tf.cast(logits, tf.float32)
    log_p = tf.nn.log_softmax(logits)  # B K
    own = tf.gather(log_p, labels[:, None], batch_dims=1)[:, 0]  # B
    return -(1 - smoothing) * own - smoothing * tf.reduce_mean(log_p, axis=1)


def distillation(recipe, taught, logits):
    """The teacher's part of the loss per picture, (B,).

    Soft (Eq. 2): tau^2 KL(teacher || student), both softened by tau. Hard (Eq. 3): cross entropy against the
    teacher's decision.
    """
    import tensorflow as tf

    if recipe.distillation == "hard":
        return cross_entropy(tf.argmax(taught, axis=1, output_type=tf.int32), logits)
    tau = recipe.distillation_tau
    log_t, log_s = (tf.nn.log_softmax(tf.cast(x, tf.float32) / tau) for x in (taught, logits))
    return tau**2 * tf.reduce_sum(tf.exp(log_t) * (log_t - log_s), axis=1)


def count_correct(batch, logits):
    """How many pictures have first the class that most of them is of."""
    import tensorflow as tf

    _, labels, partners, weights = batch
    expected = tf.where(weights >= 0.5, labels, partners)
    first = tf.argmax(logits, axis=1, output_type=labels.dtype)
    return tf.reduce_sum(tf.cast(first == expected, tf.float32))
