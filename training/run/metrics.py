"""Metrics of an epoch, summed over its steps. They are fetched in groups, because fetching waits for the device."""

import numpy as np

from keras_vit.training.step.step import METRICS


class NotFinite(FloatingPointError):
    """A loss or gradient is not finite.

    Attributes:
        step: the number of the step.
    """

    def __init__(self, step, loss, norm):
        self.step = step
        super().__init__(f"Step {step + 1}: loss {loss:g}, gradient norm {norm:g}")


class EpochMetrics:
    """The totals from which an epoch's row in summary.csv is computed.

    Args:
        next_step: number of the step whose metrics are added next.
        totals: of the epoch's earlier steps, from a checkpoint.
        multi_label: whether images have several labels; those count as correct whose labels are exactly the predicted.

    Attributes:
        totals: dictionary that JSON can hold; checkpoints store it.
        stop_requested: whether any worker was to stop at one of the steps.
    """

    def __init__(self, next_step, totals=None, multi_label=False):
        self.correct = "train_exact" if multi_label else "train_top1"
        self.next_step, self.pending, self.stop_requested = next_step, [], False
        self.totals = dict(
            totals or {"steps": 0, "loss": 0.0, "correct": 0.0, "applied": 0, "norm": 0.0, "seconds": 0.0}
        )

    def add(self, metrics):
        """Add the METRICS of a step, a tensor that is not fetched yet."""
        self.pending.append(metrics)

    def flush(self):
        """Fetch the pending metrics and add them to the totals.

        Raises:
            NotFinite: for the first step whose loss or gradient is not finite.
        """
        totals = self.totals
        for metrics in self.pending:
            values = dict(zip(METRICS, np.asarray(metrics).tolist()))
            if values["halted"]:
                raise NotFinite(self.next_step, values["loss"], values["norm"])
            totals["steps"] += 1
            totals["loss"] += values["loss"]
            totals["correct"] += values["correct"]
            if values["applied"]:  # else the gradient overflowed and the update was skipped
                totals["applied"] += 1
                totals["norm"] += values["norm"]
            self.stop_requested = self.stop_requested or values["stop"] > 0
            self.next_step += 1
        self.pending.clear()

    def row(self, batch_size):
        """Means so far: train_loss, train_top1 or train_exact in percent, gradient_norm, seconds, images_per_second."""
        totals = self.totals
        images = totals["steps"] * batch_size
        return {
            "train_loss": totals["loss"] / totals["steps"],
            self.correct: 100 * totals["correct"] / images,
            "gradient_norm": totals["norm"] / max(1, totals["applied"]),
            "seconds": totals["seconds"],
            "images_per_second": images / max(totals["seconds"], 1e-9),
        }
