"""`keras-vit train`: train a model from scratch or fine-tune one, by a recipe.

    keras-vit train --recipe quickstart --output runs/digits
    keras-vit train --data-dir photos --model ConvNeXtT --output runs/photos

Every setting of a recipe is an option. The same command again continues a run that was stopped: by a kill, by SIGTERM
(the run is saved, exit code 0) or by Ctrl-C (saved too, 130).
"""

import argparse
import dataclasses
import signal
import sys
from dataclasses import dataclass
from pathlib import Path


def main(argv=None):
    """Parse `argv`, train, and return the exit code; a mistake is one line on standard error and code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        recipe, output = parse(argv)
        return run(recipe, output)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"keras-vit train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command continues from the last checkpoint.", file=sys.stderr)
        return 130


def run(recipe, output):
    """Train; the exit code."""
    from keras_vit.training.signals import Stopped
    from keras_vit.training.trainer import train

    try:
        train(recipe, output)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 130 if stopped.number == signal.SIGINT else 0
    return 0


def parse(argv):
    """(Recipe, output folder) of a command line; the recipe's own values are the options' defaults."""
    try:
        import tyro
    except ImportError as error:
        raise ValueError("Training needs more packages; install keras-vit-models[train].") from error
    from keras_vit.training import recipe as recipes

    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--recipe")
    known, rest = chosen.parse_known_args(argv)
    folder = any(a in ("--data-dir", "--data_dir") or a.startswith("--data-dir=") for a in rest)
    name = known.recipe or ("finetune" if folder else "quickstart")
    base = recipes.load(name)
    if folder:
        base = base.replace(dataset="folder")
    options = tyro.cli(
        _options(recipes.Settings),
        args=rest,
        default=_options(recipes.Settings)(settings=recipes.Settings(**base.settings())),
        prog="keras-vit train",
        description=(
            f"{__doc__}\n--recipe is one of {', '.join(recipes.names())} "
            f"(finetune where --data-dir is given, else quickstart). Below: {name}."
        ),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
    )
    return base.replace(**dataclasses.asdict(options.settings)), options.output


def _options(kind):
    """The command line as a dataclass: the output folder, and every setting of a recipe."""
    import tyro

    @dataclass(frozen=True)
    class Options:
        settings: kind
        output: Path = tyro.MISSING
        """The run folder."""

    return Options
