"""Everything that an update changes: the model, the optimizer's moments, the loss scale, the moving average."""

from dataclasses import dataclass
from typing import Any

from keras_vit.training.step import lora
from keras_vit.training.step import model as models
from keras_vit.training.step import optimizer
from keras_vit.training.step.ema import WeightEMA
from keras_vit.training.step.loss_scale import LossScale


@dataclass(frozen=True)
class State:
    """What is trained; a checkpoint stores its `named_variables`."""

    model: Any  # keras.Model
    optimizer: Any
    loss_scale: LossScale
    ema: WeightEMA | None = None

    @classmethod
    def build(cls, recipe, classes, spec, steps_per_epoch):
        """The initial state of a recipe; call it in the scope of the strategy."""
        model = models.build_for_training(recipe, classes, spec)
        ema = WeightEMA(model, recipe.model_ema_decay) if recipe.model_ema_decay else None
        return cls(model, optimizer.make(recipe, model, steps_per_epoch), LossScale(recipe.precision), ema)

    def named_variables(self):
        """{name in checkpoints: variable}. The seeds of the layers are left out: every step draws them anew."""
        # "guard" is what older versions called the loss scale; their checkpoints are still resumed.
        groups = {"optimizer": self.optimizer.variables, "guard": self.loss_scale.variables}
        if self.ema is not None:
            groups["ema"] = self.ema.averages
        named = dict(zip(self.model_names(), without_seeds(self.model)))
        for group, variables in groups.items():
            named |= {f"{group}/{i:05d}/{v.path}": v for i, v in enumerate(variables)}
        return named

    def model_names(self):
        """Names in checkpoints of the model's variables."""
        return [f"model/{i:05d}/{v.path}" for i, v in enumerate(without_seeds(self.model))]

    def evaluation_weights(self):
        """{name: value} of the weights that are evaluated and saved: the moving average if there is one."""
        averages = {} if self.ema is None else {id(w): a for w, a in zip(self.ema.weights, self.ema.averages)}
        return {name: averages.get(id(v), v).numpy() for name, v in zip(self.model_names(), without_seeds(self.model))}

    def saved_weights(self, weights):
        """The arrays of the model that is saved, in its order: LoRA's additions are added to their matrices.

        Args:
            weights: as `evaluation_weights` returns them.
        """
        return lora.merged(self.model, without_seeds(self.model), [weights[name] for name in self.model_names()])

    def write_adapter(self, path, weights, description):
        """Write LoRA's additions and the classifier alone (`keras_vit.models.adapters`)."""
        values = [weights[name] for name in self.model_names()]
        lora.write(path, self.model, without_seeds(self.model), values, description)


def without_seeds(model):
    """The model's variables except the seeds of its layers."""
    return [v for v in model.variables if not v.path.endswith("seed_generator_state")]
