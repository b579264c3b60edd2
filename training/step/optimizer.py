"""AdamW, Lamb and SGD, the learning-rate schedule, which weights decay, and layer-wise learning rates."""

import math

import keras
from keras import ops

from keras_vit.models.depth import depth_groups
from keras_vit.system import keras_private


def decayed(variable):
    """Whether weight decay applies to `variable`: only to kernels of dense layers and convolutions.

    Norms, biases, class and distillation tokens, position tables, relative position bias tables and layer scales do
    not decay: in this library, as in Keras, none of them is called a kernel.
    """
    return len(variable.shape) > 1 and "kernel" in variable.path.split("/")[-1]


@keras.saving.register_keras_serializable("keras_vit")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear up to `peak` in `warmup_steps` steps, then half a cosine down to `floor` at the last of `steps`.

    Step 0 has the rate peak / warmup_steps, not 0.
    """

    def __init__(self, peak, steps, warmup_steps=0, floor=0.0):
        if not 0 <= warmup_steps <= steps:
            raise ValueError(f"warmup_steps must lie between 0 and steps={steps}. Received: {warmup_steps}.")
        self.peak, self.steps, self.warmup_steps, self.floor = peak, steps, warmup_steps, floor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = self.peak * (step + 1) / max(1, self.warmup_steps)
        length = max(1, self.steps - 1 - self.warmup_steps)
        done = ops.clip((step - self.warmup_steps) / length, 0.0, 1.0)
        falling = self.floor + (self.peak - self.floor) * 0.5 * (1 + ops.cos(math.pi * done))
        return ops.where(step < self.warmup_steps, rising, falling)

    def get_config(self):
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "floor": self.floor,
        }


class ConditionalUpdates:
    """Mixin of a Keras optimizer: an update of the variables of one device, applied under a condition.

    The gradients are already summed over all replicas. The condition is a tensor of the device; fetching it would make
    the device wait for the host at every step. So each assignment selects between the new value and the old one.
    """

    def prepare(self, variables, scales, decay):
        """Create the moments.

        Args:
            scales: one factor on the learning rate per variable.
            decay: weight decay of the variables for which `decayed` is true.
        """
        self.build(variables)
        self.factors = [(scale, decay * decayed(v)) for v, scale in zip(variables, scales)]

    def apply(self, gradients, variables, applies=True):
        """Update the variables it was built for; if the scalar `applies` is false, only the count of steps."""
        self.applies, rate = applies, self.learning_rate
        for i, (gradient, variable, (scale, decay)) in enumerate(zip(gradients, variables, self.factors)):
            self.update_variable(i, gradient, variable.value, rate * scale, decay)
        self.iterations.assign_add(1)

    def update_variable(self, i, gradient, variable, rate, decay):
        """Update variable i: decay decoupled from the gradient (arXiv:1711.05101), then the step of the optimizer."""
        if decay:
            self.assign_sub(variable, rate * decay * variable)
        self.update_step(gradient, variable, rate)

    def assign(self, variable, value):
        super().assign(variable, ops.where(self.applies, value, variable))

    def assign_add(self, variable, value):
        super().assign_add(variable, ops.where(self.applies, value, 0.0))

    def assign_sub(self, variable, value):
        super().assign_sub(variable, ops.where(self.applies, value, 0.0))


class AdamW(ConditionalUpdates, keras.optimizers.Adam):
    """Loshchilov and Hutter, arXiv:1711.05101: Adam, and the decoupled decay."""


class SGD(ConditionalUpdates, keras.optimizers.SGD):
    """SGD with Nesterov momentum and decoupled decay."""


class Lamb(ConditionalUpdates, keras.optimizers.Lamb):
    """You et al., arXiv:1904.00962, Algorithm 2.

    Note: as in the paper, the decay is part of the step that the trust ratio scales; Keras' own Lamb decays the
    weights separately, which at the recipes' rates is many times stronger. Variables without decay have the ratio 1,
    as in the published training codes.
    """

    def update_variable(self, i, gradient, variable, rate, decay):
        count = ops.cast(self.iterations + 1, "float32")
        m, v = keras_private.moments_of(self, i)
        self.assign_add(m, (1 - self.beta_1) * (gradient - m))
        self.assign_add(v, (1 - self.beta_2) * (ops.square(gradient) - v))
        m_hat, v_hat = m / (1 - self.beta_1**count), v / (1 - self.beta_2**count)
        step = m_hat / (ops.sqrt(v_hat) + self.epsilon) + decay * variable
        ratio = trust_ratio(variable, step) if decay else 1.0
        self.assign_sub(variable, rate * ratio * step)


def trust_ratio(variable, step):
    """Norm of the weights over norm of the step; 1 if either is 0."""
    weights, length = (ops.sqrt(ops.sum(ops.square(x))) for x in (variable, step))
    usable = ops.logical_and(weights > 0, length > 0)
    return ops.where(usable, weights / ops.where(usable, length, 1.0), 1.0)


def make(recipe, model, steps_per_epoch):
    """The recipe's optimizer for the model's trainable variables; call it in the scope of the strategy."""
    schedule = WarmupCosine(
        recipe.lr,
        recipe.epochs * steps_per_epoch,
        round(recipe.warmup_epochs * steps_per_epoch),
        recipe.min_lr,
    )
    betas = {"beta_1": recipe.opt_betas[0], "beta_2": recipe.opt_betas[1]}
    optimizer = {
        "adamw": lambda: AdamW(schedule, epsilon=1e-8, name="adamw", **betas),
        "lamb": lambda: Lamb(schedule, epsilon=1e-6, name="lamb", **betas),
        "sgd": lambda: SGD(schedule, momentum=recipe.momentum, nesterov=recipe.momentum > 0, name="sgd"),
    }[recipe.opt]()
    variables = model.trainable_variables
    optimizer.prepare(variables, rate_scales(model, variables, recipe.layer_decay), recipe.weight_decay)
    return optimizer


def moments_per_weight(recipe):
    """How many numbers the recipe's optimizer keeps for each weight that is trained."""
    return int(recipe.momentum > 0) if recipe.opt == "sgd" else 2


def rate_scales(model, variables, layer_decay):
    """Per variable its factor on the learning rate: layer_decay ** (highest level - its layer's level of depth)."""
    if layer_decay == 1:
        return [1.0] * len(variables)
    levels = depth_groups(model)
    depth = max(levels.values())
    level = {id(v): levels[layer.name] for layer in model.layers for v in layer.weights}
    return [layer_decay ** (depth - level[id(v)]) for v in variables]
