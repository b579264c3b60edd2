"""`keras-vit train`: train a model from scratch or fine-tune one, by a recipe.

    keras-vit train --recipe quickstart --output runs/digits
    keras-vit train --data-dir photos --model ConvNeXtT --output runs/photos
    keras-vit train --data-dir photos --dry-run        the plan in words, and dry_run.png with the first batch

Every setting of a recipe is an option. The same command again continues a run that was stopped: by a kill, by SIGTERM
(the run is saved, exit code 0) or by Ctrl-C (saved too, 130).
"""

import argparse
import dataclasses
import difflib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path


def main(argv=None):
    """Parse `argv`, train, and return the exit code; a mistake is one line on standard error and code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        recipe, output, dry = parse(argv)
        if dry:
            from keras_vit.training.dry_run import dry_run

            dry_run(recipe, output)
            return 0
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
    """(Recipe, output folder, whether it is a dry run); the recipe's own values are the options' defaults."""
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
    _refuse_unknown(rest, recipes.Settings)
    kind = _options(recipes.Settings, Path() if "--dry-run" in rest else tyro.MISSING)
    options = tyro.cli(
        kind,
        args=rest,
        default=kind(settings=recipes.Settings(**base.settings())),
        prog="keras-vit train",
        description=(
            f"{__doc__}\n--recipe is one of {', '.join(recipes.names())} "
            f"(finetune where --data-dir is given, else quickstart). Below: {name}."
        ),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
    )
    return base.replace(**dataclasses.asdict(options.settings)), options.output, options.dry_run


def _refuse_unknown(arguments, kind):
    """ValueError with the closest names for an option that there is not."""
    fields = {field.name.replace("_", "-"): field.type for field in dataclasses.fields(kind)}
    switches = {"dry-run", *(name for name, hint in fields.items() if hint is bool)}
    known = [f"--{name}" for name in ("output", "help", *fields, *switches, *(f"no-{name}" for name in switches))]
    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in known:
            close = ", ".join(difflib.get_close_matches(name, known, cutoff=0.5))
            raise ValueError(f"There is no option {name}. {f'Closest: {close}.' if close else '--help lists them.'}")


def _options(kind, folder):
    """The command line as a dataclass: the output folder, and every setting of a recipe."""

    @dataclass(frozen=True)
    class Options:
        settings: kind
        output: Path = folder
        """The run folder."""
        dry_run: bool = False
        """Say what would be done, and write an augmented batch as dry_run.png into the folder (by default: here)."""

    return Options
