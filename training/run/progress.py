"""What a run prints: a header, one live line, and a line per epoch; without a terminal only lines that stay."""

import contextlib
import errno
import time

from keras_vit.images.names import printable


class Progress:
    """Prints to a rich console.

    Args:
        epochs, steps: epochs of the run, steps of an epoch.
        batch_size: images per step.
        console: a rich.console.Console; one for standard output if None.
        quiet: print nothing; for all workers but the chief.
        work: what each epoch costs, relatively; the same if None.

    Attributes:
        live: whether the console is a terminal, on which a line can be redrawn.
    """

    def __init__(self, epochs, steps, batch_size, console=None, quiet=False, work=None):
        from rich.console import Console

        self.console = console or Console(highlight=False, soft_wrap=True)
        if quiet:
            self.console = quiet_console()
        self.live = self.console.is_terminal
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.bar = self.task = None
        self.work = [1.0] * epochs if work is None else work
        self.drawn, self.trained, self.done, self.peak_memory = 0.0, 0.0, 0.0, 0

    def header(self, entries):
        """Print a line `name  value` per entry."""
        from rich.markup import escape

        width = max(len(name) for name in entries)
        for name, value in entries.items():
            self._print(f"[bold]{name:<{width}}[/bold]  {escape(printable(value))}")

    def log(self, text):
        """Print a line that stays."""
        self._print(printable(text), markup=False)

    def _print(self, text, **options):
        try:
            self.console.print(text, **options)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.console = quiet_console()  # the terminal was closed: SIGHUP stops the run, or `nohup` lets it go on

    def __enter__(self):
        if self.live:
            self.bar = _bar(self.console)
            self.task = self.bar.add_task("", total=self.epochs * self.steps)
            self.bar.start()
        return self

    def __exit__(self, *error):
        if self.bar:
            with contextlib.suppress(OSError):  # the terminal was closed
                self.bar.stop()

    def due(self):
        """Whether the live line may be redrawn: at most ten times a second."""
        return self.live and time.monotonic() - self.drawn >= 0.1

    def step(self, done, row):
        """Redraw the live line, if there is one, after `done` steps; `row` has the means of the epoch so far."""
        if not self.live:
            return
        self.drawn, self.peak_memory = time.monotonic(), max(self.peak_memory, memory_in_use())
        epoch, step = divmod(done - 1, self.steps)
        text = (
            f"epoch {epoch + 1}/{self.epochs}  step {step + 1}/{self.steps}  loss {row['train_loss']:.3f}  "
            f"accuracy {row['train_top1']:.1f} %{self._speed()}  {self.peak_memory / 2**30:.1f} GiB"
        )
        self.bar.update(self.task, description=text, completed=done)

    def epoch(self, row, best):
        """Print the line of an epoch; `best` marks a new best checkpoint."""
        self.trained += row["seconds"]
        self.done += self.work[row["epoch"]]
        left = sum(self.work[row["epoch"] + 1 :]) * self.trained / self.done
        mark = "  best" if best else ""
        self._print(
            f"epoch {row['epoch'] + 1:>3}/{self.epochs}  loss {row['train_loss']:.3f}  "
            f"accuracy {row['train_top1']:6.2f} %  validation loss {row['eval_loss']:.3f} "
            f"accuracy {row['eval_top1']:6.2f} %  {row['images_per_second']:.0f} images/s  "
            f"{duration(left)} left{mark}"
        )

    def _speed(self):
        speed = self.bar.tasks[0].speed if self.bar.tasks else None
        return f"  {speed * self.batch_size:.0f} images/s" if speed else ""


def quiet_console():
    """A console that prints nothing."""
    from rich.console import Console

    return Console(quiet=True, force_terminal=False)


def memory_in_use():
    """Bytes: the peak so far on the first GPU, or without a GPU what this process has resident now."""
    import psutil
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return psutil.Process().memory_info().rss


def duration(seconds):
    """Seconds in a readable form: 9 s, 2 min 05 s, 3 h 07 min."""
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
