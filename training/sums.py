"""Sums over the steps of an epoch, looked at in groups, because a look waits for the device."""

import numpy as np

from keras_vit.training.step import METRICS


class NotFinite(FloatingPointError):
    """A loss or gradient is not finite.

    Attributes:
        step: the number of the step.
    """

    def __init__(self, step, loss, norm):
        self.step = step
        super().__init__(f"Step {step + 1}: loss {loss:g}, gradient norm {norm:g}")


class EpochSums:
    """What an epoch's row in summary.csv is computed from; `state` goes into checkpoints.

    Args:
        next_step: the number of the step whose metrics are added next.
        state: of an epoch that was begun before.
    """

    def __init__(self, next_step, state=None):
        self.next_step, self.pending, self.stop = next_step, [], False
        self.totals = dict(
            state or {"steps": 0, "loss": 0.0, "correct": 0.0, "applied": 0, "norm": 0.0, "seconds": 0.0}
        )

    def add(self, metrics):
        """A step's METRICS, as a tensor."""
        self.pending.append(metrics)

    def settle(self):
        """Fetch what is pending. Raises: NotFinite naming the first step whose loss or gradient is not finite."""
        totals = self.totals
        for metrics in self.pending:
            values = dict(zip(METRICS, np.asarray(metrics).tolist()))
            if values["halted"]:
                raise NotFinite(self.next_step, values["loss"], values["norm"])
            totals["steps"] += 1
            totals["loss"] += values["loss"]
            totals["correct"] += values["correct"]
            if values["applied"]:  # else left out: the gradient overflowed
                totals["applied"] += 1
                totals["norm"] += values["norm"]
            self.stop = self.stop or values["stop"] > 0
            self.next_step += 1
        self.pending.clear()

    def row(self, batch_size):
        """Means so far: train_loss, train_top1 in percent, gradient_norm, seconds, images_per_second."""
        totals = self.totals
        pictures = totals["steps"] * batch_size
        return {
            "train_loss": totals["loss"] / totals["steps"],
            "train_top1": 100 * totals["correct"] / pictures,
            "gradient_norm": totals["norm"] / max(1, totals["applied"]),
            "seconds": totals["seconds"],
            "images_per_second": pictures / max(totals["seconds"], 1e-9),
        }
