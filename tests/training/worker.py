"""One of the processes of test_workers:

    python -m tests.training.worker DATA FOLDER '{"epochs": 2}' ['["checkpoint", 9]']

trains the toy on one CPU device, as one of the workers that the environment names, if it does. With a moment and the
number of a signal it sends itself this signal: after the second step of the second epoch ("step"), with a batch of its
evaluation in hand ("evaluation"), or in the middle of writing its checkpoint ("checkpoint").
"""

import io
import json
import os
import sys

from keras_vit.cli.train import run
from keras_vit.training.run import archive
from keras_vit.training.trainer import Trainer
from tests.training import toy


def in_a_step(end):
    inner = Trainer.after_step

    def after_step(trainer):
        inner(trainer)
        if len(trainer.history) == 1 and trainer.step % trainer.plan.steps == 2:
            end()

    Trainer.after_step = after_step


def in_an_evaluation(end):
    inner = Trainer.evaluate

    def evaluate(trainer, batches):
        def ended():
            for batch in batches:
                if len(trainer.history) == 1:
                    end()
                yield batch

        return inner(trainer, ended())

    Trainer.evaluate = evaluate


def in_a_checkpoint(end):
    inner = archive.write

    def write(file, arrays, state):
        whole = io.BytesIO()
        inner(whole, arrays, state)
        half = len(whole.getvalue()) // 2 if len(state.get("history", ())) == 2 else 0
        file.write(whole.getvalue()[:half])
        file.flush()
        if half:
            end()
        file.write(whole.getvalue()[half:])

    archive.write = write


MOMENTS = {"step": in_a_step, "evaluation": in_an_evaluation, "checkpoint": in_a_checkpoint}


if __name__ == "__main__":
    data, folder, settings, *when = sys.argv[1:]
    if when:
        moment, number = json.loads(when[0])
        MOMENTS[moment](lambda: os.kill(os.getpid(), number))
    try:
        sys.exit(run(toy.recipe(data_dir=data, **json.loads(settings)), folder))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
