"""The summary of a run that is printed before its first step."""

import math

from keras_vit.training.datasets import evenness
from keras_vit.training.pipeline.sizes import in_words
from keras_vit.training.step import lora
from keras_vit.training.step.optimizer import moments_per_weight


def header(plan, model):
    """{name: text}, in the order in which they are printed."""
    recipe = plan.recipe
    return {
        "model": _model(plan, model),
        "weights": plan.settings["weights"] or "from scratch",
        **({"lora": _lora(recipe, model)} if recipe.lora_rank is not None else {}),
        "data": _data(plan.data_set),
        **plan.data_set.notes,
        **evenness.notes(plan.data_set, recipe),
        "images": _images(plan),
        "devices": _devices(plan),
        "batch": _batch(plan),
        "steps": f"{recipe.epochs} epochs x {plan.steps} = {recipe.epochs * plan.steps}",
        "optimizer": _optimizer(recipe),
        "learning rate": f"up to {recipe.lr:g} in {recipe.warmup_epochs:g} epochs, cosine to {recipe.min_lr:g}"
        + (f", times {recipe.layer_decay:g} per level of depth" if recipe.layer_decay != 1 else ""),
        **({"teacher": f"{recipe.teacher}, {recipe.distillation} distillation"} if recipe.teacher else {}),
        **_watched(recipe),
        "output": str(plan.folder),
    }


def _watched(recipe):
    """When the run ends early, where its numbers go, which weights it keeps; each if the recipe says so."""
    epochs = f"{recipe.early_stopping} epoch{'s' * (recipe.early_stopping > 1)}"
    services = [name for name in recipe.loggers if name not in ("csv", "tensorboard")]
    return {
        **(
            {"early stopping": f"after {epochs} without a better {recipe.eval_metric}"} if recipe.early_stopping else {}
        ),
        **({"loggers": ", ".join(services)} if services else {}),
        **({"averages": f"of up to {recipe.average_hist} epochs"} if recipe.average_hist else {}),
    }


def _model(plan, model):
    trained, total = _numbers(model.trainable_variables), model.count_params()
    frozen = plan.recipe.freeze_depth or plan.recipe.linear_probe or plan.recipe.lora_rank is not None
    return f"{plan.settings['model']}, {total:,} parameters" + (f", {trained:,} of them trained" if frozen else "")


def _lora(recipe, model):
    """What LoRA adds, and what the optimizer keeps of that, beside what it would keep of all weights."""
    layers = lora.adapted(model)
    matrices = [v for layer in layers for v in layer.variables if v.path.endswith("/kernel")]
    added = _numbers([v for layer in layers for v in (layer.lora_kernel_a, layer.lora_kernel_b)])
    bytes_each = 4 * moments_per_weight(recipe)
    kept, whole = (n * bytes_each / 2**20 for n in (_numbers(model.trainable_variables), model.count_params() - added))
    alpha = recipe.lora_rank if recipe.lora_alpha is None else recipe.lora_alpha
    return (
        f"rank {recipe.lora_rank}, alpha {alpha:g}: {added:,} parameters beside the {_numbers(matrices):,} of "
        f"{len(layers)} matrices; the optimizer keeps {kept:.1f} MiB, of all weights it would be {whole:.1f}"
    )


def _numbers(variables):
    return sum(math.prod(v.shape) for v in variables)


def _images(plan):
    """The sizes of the images: of a schedule, from which epoch on each is trained."""
    sizes, own = plan.sizes, in_words(plan.spec.size)
    if not sizes.others:
        return f"{own} pixels"
    if sizes.drawn:
        trained = f"every batch one of {', '.join(map(in_words, sizes.trained))} pixels, validated at {own}"
    else:
        (_, first), *later = sizes.begins.items()
        texts = [f"{in_words(size)} after {step / plan.steps:.4g} epochs" for step, size in later]
        trained = ", ".join([f"{in_words(first)} pixels", *texts])
    return f"{trained}; compiled once per size"


def _data(data_set):
    splits = ", ".join(f"{len(split):,} {name}" for name, split in data_set.splits().items())
    return f"{data_set.name}, {len(data_set.classes)} classes, {splits}"


def _devices(plan):
    worker, device = plan.worker, plan.strategy.extended.worker_devices[0]
    kind = device.split("device:")[-1].split(":")[0]
    workers = f"{worker.count} workers x " if worker.count > 1 else ""
    again = ", blocks computed again for gradients" if plan.recipe.grad_checkpointing else ""
    return (
        f"{workers}{worker.replicas} x {kind}, {plan.recipe.precision}, XLA {'on' if plan.compiled else 'off'}{again}"
    )


def _batch(plan):
    replicas, count = plan.strategy.num_replicas_in_sync, plan.recipe.grad_accum_steps
    accumulated = f" in {count} micro-batches" if count > 1 else ""
    return f"{plan.batch_size} ({plan.batch_size // replicas} per device{accumulated})"


def _optimizer(recipe):
    clipped = f", gradient norm up to {recipe.clip_grad:g}" if recipe.clip_grad is not None else ""
    averaged = f", weights averaged with decay {recipe.model_ema_decay:g}" if recipe.model_ema_decay else ""
    return f"{recipe.opt}, weight decay {recipe.weight_decay:g}{clipped}{averaged}"
