"""Batches of several sizes: a stream for each size, since the graph that makes a batch is one of a fixed size."""


class Streams:
    """The micro-batches of a run's steps, taken from the stream of each step's size.

    A stream begins when its first batch is needed and is dropped after its last, so that a schedule of growing sizes
    reads ahead and keeps images in memory for one size at a time.

    Args:
        sizes: `sizes.Sizes` of the run.
        begin: function (size, step) -> iterator over the micro-batches of the steps of that size, from a step on.
        micro_batches: per step.
    """

    def __init__(self, sizes, begin, micro_batches):
        self.sizes, self.begin, self.micro_batches = sizes, begin, micro_batches
        self.open = {}  # size -> (iterator, last step)

    def take(self, step):
        """The micro-batches of a step; steps are taken in order."""
        size = self.sizes.at(step)
        if size not in self.open:
            self.open = {other: (stream, last) for other, (stream, last) in self.open.items() if last > step}
            self.open[size] = self.begin(size, step), self.sizes.steps(size)[-1]
        return tuple(next(self.open[size][0]) for _ in range(self.micro_batches))
