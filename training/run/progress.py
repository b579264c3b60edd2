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
        self.console = console or _console()
        if quiet:
            self.console = quiet_console()
        self.live = self.console.is_terminal or (in_notebook() and not self.console.quiet)
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
            self.bar = NotebookBar() if in_notebook() else _bar(self.console)
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
            f"{_trained(row, '.1f')}{self._speed()}  {self.peak_memory / 2**30:.1f} GiB"
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
            f"{_trained(row, '6.2f')}  validation loss {row['eval_loss']:.3f} "
            f"{_validated(row)}  {row['images_per_second']:.0f} images/s  "
            f"{duration(left)} left{mark}"
        )

    def _speed(self):
        speed = self.bar.tasks[0].speed if self.bar.tasks else None
        return f"  {speed * self.batch_size:.0f} images/s" if speed else ""


def _trained(row, form):
    """The accuracy of a row on training images as text, or for several labels the share that is exactly right."""
    return f"accuracy {row['train_top1']:{form}} %" if "train_top1" in row else f"exact {row['train_exact']:{form}} %"


def _validated(row):
    return f"accuracy {row['eval_top1']:6.2f} %" if "eval_top1" in row else f"mAP {row['eval_map']:6.2f} %"


class NotebookBar:
    """The live line in a notebook: one output that is replaced, where rich would need ipywidgets.

    It has what `Progress` uses of rich's own bar. A notebook that is saved or executed without a browser has no trace
    of it in the end.
    """

    def __init__(self):
        self.tasks, self.handle = [], None

    def add_task(self, text, total):
        """Add the task; its number."""
        self.tasks.append(NotebookTask(total))
        return len(self.tasks) - 1

    def start(self):
        """Show an empty line."""
        from IPython.display import display

        self.handle = display(_plain(""), display_id=True)

    def update(self, number, description, completed):
        """Replace the line."""
        task = self.tasks[number]
        task.done(completed)
        filled = round(20 * completed / task.total)
        self.handle.update(_plain(f"{description}  {'█' * filled}{'░' * (20 - filled)}  {task.left()} left"))

    def stop(self):
        """Take the line away."""
        self.handle.update(_plain(""))


class NotebookTask:
    """How far a `NotebookBar` is, and how fast.

    Attributes:
        speed: steps per second since the first one that was shown; None before the second.
    """

    def __init__(self, total):
        self.total, self.first, self.speed, self.completed = total, None, None, 0

    def done(self, completed):
        """Note how many steps are done."""
        now, self.completed = time.monotonic(), completed
        self.first = self.first or (now, completed)
        seconds, steps = now - self.first[0], completed - self.first[1]
        self.speed = steps / seconds if steps and seconds > 0 else None

    def left(self):
        """The time that is left, as text."""
        return duration((self.total - self.completed) / self.speed) if self.speed else "-"


def _plain(text):
    """Text as a notebook shows it, in one size and unwrapped."""
    import html

    from IPython.display import HTML

    return HTML(f'<pre style="margin:0">{html.escape(text)}</pre>')


def in_notebook():
    """Whether this process is the kernel of a notebook."""
    import sys

    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _console():
    """A console for standard output; in a notebook too, where rich would make an output of its own of every line."""
    from rich.console import Console

    if not in_notebook():
        return Console(highlight=False, soft_wrap=True)
    return Console(highlight=False, soft_wrap=True, force_jupyter=False, force_terminal=False, width=200)


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
