"""AdamW, its schedule, and the weights that decay."""

import math

import keras
from keras import ops


def decayed(variable):
    """Whether weight decay applies to `variable`: to kernels only, of dense layers and convolutions.

    Left alone are norms, biases, class and distillation tokens, position tables, relative position bias tables and
    the gammas of layer scale: in this library, as in Keras, none of them is called a kernel.
    """
    return len(variable.shape) > 1 and "kernel" in variable.path.split("/")[-1]


@keras.saving.register_keras_serializable("keras_vit")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear up to `peak` in `warmup_steps` steps, then half a cosine down to `floor` at the last of `steps`.

    Step 0 already moves: it takes peak / warmup_steps.
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


class SummedAdamW(keras.optimizers.AdamW):
    """AdamW for gradients that the step has summed over the replicas already.

    Keras' optimizer sums them itself, after any clipping; the global norm, however, is that of the sum.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


def make(recipe, variables, steps_per_epoch):
    """The recipe's AdamW, built for `variables`; call it in the scope of the strategy."""
    schedule = WarmupCosine(
        recipe.lr,
        recipe.epochs * steps_per_epoch,
        round(recipe.warmup_epochs * steps_per_epoch),
        recipe.min_lr,
    )
    options = {"weight_decay": recipe.weight_decay, "beta_1": recipe.opt_betas[0], "beta_2": recipe.opt_betas[1], "name": "adamw"}
    optimizer = SummedAdamW(schedule, **options)
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if not decayed(v)])
    optimizer.build(variables)
    return optimizer
