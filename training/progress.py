"""What a person sees of a run: a header, one live line, a line per epoch; plain lines where there is no terminal."""

import time


class Progress:
    """Writes to a rich console; `live` says whether a line can be rewritten in place.

    Args:
        console: a rich.console.Console; one for standard output if None.
        epochs, steps: of the run, and of one epoch.
        batch_size: pictures per step.
        quiet: whether to write nothing, as all workers do but one.
    """

    def __init__(self, epochs, steps, batch_size, console=None, quiet=False):
        from rich.console import Console

        self.console = console or Console(highlight=False, soft_wrap=True)
        if quiet:
            self.console = Console(quiet=True, force_terminal=False)
        self.live = self.console.is_terminal
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.bar = self.task = None
        self.drawn, self.trained, self.done = 0.0, 0.0, 0

    def header(self, entries):
        """Lines of `name  value`, before the first step."""
        from rich.markup import escape

        width = max(len(name) for name in entries)
        for name, value in entries.items():
            self.console.print(f"[bold]{name:<{width}}[/bold]  {escape(str(value))}")

    def say(self, text):
        """A line that stays."""
        self.console.print(text, markup=False)

    def __enter__(self):
        if self.live:
            self.bar = _bar(self.console)
            self.task = self.bar.add_task("", total=self.epochs * self.steps)
            self.bar.start()
        return self

    def __exit__(self, *error):
        if self.bar:
            self.bar.stop()

    def due(self):
        """Whether the live line may be drawn again: ten times a second at most."""
        return self.live and time.monotonic() - self.drawn >= 0.1

    def step(self, done, row):
        """Refresh the live line, if there is one, after so many steps; `row` has the epoch's means so far."""
        if not self.live:
            return
        self.drawn = time.monotonic()
        epoch, step = divmod(done - 1, self.steps)
        text = (
            f"epoch {epoch + 1}/{self.epochs}  step {step + 1}/{self.steps}  loss {row['train_loss']:.3f}  "
            f"accuracy {row['train_top1']:.1f} %{self._speed()}  {memory()}"
        )
        self.bar.update(self.task, description=text, completed=done)

    def epoch(self, row, best):
        """The line that an epoch leaves behind; `best` marks a new best checkpoint."""
        self.trained += row["seconds"]
        self.done += 1
        left = (self.epochs - row["epoch"] - 1) * self.trained / self.done
        mark = "  best" if best else ""
        self.console.print(
            f"epoch {row['epoch'] + 1:>3}/{self.epochs}  loss {row['train_loss']:.3f}  "
            f"accuracy {row['train_top1']:6.2f} %  validation loss {row['eval_loss']:.3f} "
            f"accuracy {row['eval_top1']:6.2f} %  {row['images_per_second']:.0f} images/s  "
            f"{duration(left)} left{mark}"
        )

    def _speed(self):
        speed = self.bar.tasks[0].speed if self.bar.tasks else None
        return f"  {speed * self.batch_size:.0f} images/s" if speed else ""


def memory():
    """The most memory that was in use so far: of the first GPU, or of the process where there is none."""
    import resource
    import sys

    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    else:  # in bytes on macOS, in KiB elsewhere
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{peak / 2**30:.1f} GiB"


def duration(seconds):
    """Seconds as a person writes them: 9 s, 2 min 05 s, 3 h 07 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _bar(console):
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), TimeRemainingColumn())
    return Progress(*columns, TextColumn("left"), console=console, transient=True)
