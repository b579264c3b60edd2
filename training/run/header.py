"""The summary of a run that is printed before its first step."""

import math

from keras_vit.training.pipeline.sizes import in_words


def header(plan, model):
    """{name: text}, in the order in which they are printed."""
    recipe = plan.recipe
    return {
        "model": _model(plan, model),
        "weights": plan.settings["weights"] or "from scratch",
        "data": _data(plan.data_set),
        **plan.data_set.notes,
        "images": _images(plan),
        "devices": _devices(plan),
        "batch": _batch(plan),
        "steps": f"{recipe.epochs} epochs x {plan.steps} = {recipe.epochs * plan.steps}",
        "optimizer": _optimizer(recipe),
        "learning rate": f"up to {recipe.lr:g} in {recipe.warmup_epochs:g} epochs, cosine to {recipe.min_lr:g}"
        + (f", times {recipe.layer_decay:g} per level of depth" if recipe.layer_decay != 1 else ""),
        **({"teacher": f"{recipe.teacher}, {recipe.distillation} distillation"} if recipe.teacher else {}),
        "output": str(plan.folder),
    }


def _model(plan, model):
    trained, total = sum(math.prod(v.shape) for v in model.trainable_variables), model.count_params()
    frozen = "" if not (plan.recipe.freeze_depth or plan.recipe.linear_probe) else f", {trained:,} of them trained"
    return f"{plan.settings['model']}, {total:,} parameters{frozen}"


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
    return f"{workers}{worker.replicas} x {kind}, {plan.recipe.precision}, XLA {'on' if plan.compiled else 'off'}"


def _batch(plan):
    replicas, count = plan.strategy.num_replicas_in_sync, plan.recipe.grad_accum_steps
    accumulated = f" in {count} micro-batches" if count > 1 else ""
    return f"{plan.batch_size} ({plan.batch_size // replicas} per device{accumulated})"


def _optimizer(recipe):
    clipped = f", gradient norm up to {recipe.clip_grad:g}" if recipe.clip_grad is not None else ""
    averaged = f", weights averaged with decay {recipe.model_ema_decay:g}" if recipe.model_ema_decay else ""
    return f"{recipe.opt}, weight decay {recipe.weight_decay:g}{clipped}{averaged}"
