"""All that an update changes: the model, the optimizer's moments, the loss scale, the moving average."""

from dataclasses import dataclass
from typing import Any

from keras_vit.training import model as models
from keras_vit.training import optimizer
from keras_vit.training.ema import WeightEMA
from keras_vit.training.guard import Guard


@dataclass(frozen=True)
class State:
    """What is trained; `named` is what a checkpoint keeps of it."""

    model: Any  # keras.Model
    optimizer: Any
    guard: Guard
    ema: WeightEMA | None = None

    @classmethod
    def build(cls, recipe, classes, spec, steps_per_epoch):
        """As the recipe begins; call it in the scope of the strategy."""
        model = models.build_for_training(recipe, classes, spec)
        made = optimizer.make(recipe, model, steps_per_epoch)
        ema = WeightEMA(model, recipe.model_ema_decay) if recipe.model_ema_decay else None
        return cls(model, made, Guard(recipe.precision), ema)

    def named(self):
        """Name -> variable. The seeds of the layers are left out: every step draws them anew."""
        groups = {"optimizer": self.optimizer.variables, "guard": self.guard.variables}
        if self.ema is not None:
            groups["ema"] = self.ema.averages
        named = dict(zip(self.names(), kept(self.model)))
        for group, variables in groups.items():
            named |= {f"{group}/{i:05d}/{v.path}": v for i, v in enumerate(variables)}
        return named

    def names(self):
        """Names of the model's variables."""
        return [f"model/{i:05d}/{v.path}" for i, v in enumerate(kept(self.model))]

    def judged(self):
        """Name -> value of the weights that are judged and kept: the moving average where there is one."""
        averages = {} if self.ema is None else {id(w): a for w, a in zip(self.ema.weights, self.ema.averages)}
        return {name: averages.get(id(v), v).numpy() for name, v in zip(self.names(), kept(self.model))}


def kept(model):
    """The model's variables but for its layers' seeds."""
    return [v for v in model.variables if not v.path.endswith("seed_generator_state")]
