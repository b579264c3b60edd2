"""bfloat16 on a GPU:  KERAS_BACKEND=jax python -m benchmarks.gpu [--models NAME ...] [--batch-size 128] [--csv FILE]

A forward pass, and a training step (forward, backward, AdamW), of our models on JAX against timm compiled by PyTorch,
on the same GPU, with the same batch, float32 weights and bfloat16 arithmetic; both alternate, and medians are compared.
Without a GPU both run on the CPU, which only shows that the benchmark works.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch uses the same GPU

import jax  # noqa: E402
import keras  # noqa: E402

from benchmarks import peers, report  # noqa: E402
from keras_vit.models import VARIANTS  # noqa: E402

CLASSES = 1000
LEARNING_RATE, DECAY = 1e-3, 0.05


def our_model(name, batch, **options):
    """A model, and a batch on the device."""
    model = VARIANTS[name](weights=None, dtype="mixed_bfloat16", **options)
    return model, jax.random.normal(jax.random.key(0), (batch, *VARIANTS[name].image_size, 3))


def our_inference(name, batch):
    """A function that predicts a batch and waits for it."""
    model, images = our_model(name, batch)
    fixed = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    run = jax.jit(lambda fixed, images: model.stateless_call(*fixed, images, training=False)[0])
    return lambda: run(fixed, images).block_until_ready()


def our_training(name, batch):
    """A function that takes a step and waits for it."""
    model, images = our_model(name, batch, classifier_activation=None)
    labels = jax.numpy.arange(batch) % CLASSES
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=DECAY)
    optimizer.build(model.trainable_variables)
    groups = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    state = tuple([v.value for v in group] for group in groups)

    def objective(weights, others):
        logits, others = model.stateless_call(weights, others, images, training=True)
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).mean(), others

    @jax.jit
    def step(weights, others, moments):
        (loss, others), gradients = jax.value_and_grad(objective, has_aux=True)(weights, others)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        return loss, (weights, others, moments)

    def take():
        nonlocal state
        loss, state = step(*state)
        loss.block_until_ready()

    return take


def timm_model(name, batch, **options):
    """timm's model of the same architecture, a batch on the device, and the device."""
    model, images = peers.timm_model(name, batch, **options)
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device), images.to(device), device


def timm_inference(name, batch):
    """A function that predicts a batch and waits for it."""
    model, images, device = timm_model(name, batch)
    import torch

    run = torch.compile(model)

    def predict():
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            run(images).float().cpu()

    return predict


def timm_training(name, batch):
    """A function that takes a step and waits for it."""
    model, images, device = timm_model(name, batch, num_classes=CLASSES)
    import torch

    labels = torch.arange(batch, device=device) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    run = torch.compile(model.train())

    def take():
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(run(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return take


SIDES = {"inference": (our_inference, timm_inference), "training step": (our_training, timm_training)}


def measure(name, batch, rounds):
    """A row per kind of work; a message names timm's models that cannot be built."""
    for what, (ours, theirs) in SIDES.items():
        with peers.leaving_out(f"timm's {name}"):
            sides = {"ours": ours(name, batch), "timm compiled": theirs(name, batch)}
            times = report.alternate(sides, rounds)
            facts = {"model": name, "work": what, "batch": batch, "device": jax.devices()[0].device_kind}
            yield from report.compare(facts, times, "ours", ["timm compiled"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, choices=VARIANTS, metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--csv", help="where to write the rows as well")
    arguments = parser.parse_args()
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.batch_size, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
