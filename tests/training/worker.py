"""One of the processes of test_workers:

    python -m tests.training.worker DATA FOLDER '{"epochs": 2}' ['["checkpoint", 9]']

trains the toy on one CPU device, as one of the workers that the environment names, if it does. With a moment and the
number of a signal it sends itself this signal: in the second step of the second epoch ("step"), in the middle of
writing that epoch's checkpoint ("checkpoint"), or between two batches of its evaluation ("evaluation").
"""

import io
import json
import os
import sys

from keras_vit.cli.train import run
from keras_vit.training.run import archive, checkpoint
from keras_vit.training.trainer import Trainer
from tests.training import toy


def send_itself(moment, number):
    """Have the signal sent at the moment."""
    inner_after_step, inner_evaluate = Trainer.after_step, Trainer.evaluate

    def end():
        os.kill(os.getpid(), number)

    def after_step(trainer):
        inner_after_step(trainer)
        if moment == "step" and len(trainer.history) == 1 and trainer.step % trainer.plan.steps == 2:
            end()

    def evaluate(trainer, batches):
        def broken():
            for i, batch in enumerate(batches):
                if i == 1:
                    end()
                yield batch

        return inner_evaluate(trainer, broken() if moment == "evaluation" and len(trainer.history) == 1 else batches)

    def write(file, arrays, state):
        whole = io.BytesIO()
        archive.write(whole, arrays, state)
        written = whole.getvalue()
        if len(state.get("history", ())) == 2:
            file.write(written[: len(written) // 2])
            file.flush()
            end()
        file.write(written)

    Trainer.after_step, Trainer.evaluate = after_step, evaluate
    if moment == "checkpoint":
        checkpoint.archive = type("Archive", (), {"write": staticmethod(write), "Archive": archive.Archive})


if __name__ == "__main__":
    data, folder, settings, *when = sys.argv[1:]
    if when:
        send_itself(*json.loads(when[0]))
    try:
        sys.exit(run(toy.recipe(data_dir=data, **json.loads(settings)), folder))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
