"""`keras-vit train`: train a model from scratch or fine-tune one, by a recipe."""

import argparse
import contextlib
import signal
import sys
import textwrap
from pathlib import Path

from keras_vit.cli.arguments import add_max_pixels, complete_name, verb_parser
from keras_vit.cli.settings import add_group, refuse_unknown
from keras_vit.system import ends, places, startup

DESCRIPTION = """\
Train a model from scratch or fine-tune one, by a recipe:

    keras-vit train --recipe quickstart --output runs/digits
    keras-vit train --data-dir photos --model ConvNeXtT --output runs/photos
    keras-vit train --data-dir photos --dry-run        the plan in words, and dry_run.png with the first batch
    keras-vit train --data-dir photos --lr-finder      a learning rate to begin with, and lr_finder.png with its curve

Every setting of a recipe is an option; the defaults below are those of --recipe {chosen}. The recipes:

{names}

Without --recipe it is finetune where --data-dir is given, else quickstart.
The same command again continues a run that was stopped: by a kill, by SIGTERM or SIGHUP (the run is saved, exit code
0 or --stopped-status) or by Ctrl-C (saved too, 130).
"""


def main(argv=None):
    """Parse `argv`, train, and return the exit code; a mistake is one line on standard error and code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        recipe, output, instead, stopped = parse(argv)
        if instead and places.is_remote(output):
            raise ValueError(f"--{instead.replace('_', '-')} writes into a local folder. Received: {output}.")
        startup.start_tensorflow()
        if instead == "dry_run":
            from keras_vit.training.dry_run import dry_run

            dry_run(recipe, output)
        elif instead == "lr_finder":
            from keras_vit.training.lr_finder import find_lr

            find_lr(recipe, output)
        return 0 if instead else run(recipe, output, stopped)
    except (ValueError, FloatingPointError, OSError) as error:
        if ends.received() is not None:  # what was interrupted may say so in its own way
            raise
        print(f"keras-vit train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command continues from the last checkpoint.", file=sys.stderr)
        return 130


def run(recipe, output, stopped_status=0):
    """Train; the exit code, `stopped_status` if a signal other than Ctrl-C ended the run early."""
    from keras_vit.training.run.signals import Stopped
    from keras_vit.training.trainer import train

    try:
        train(recipe, output)
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # the terminal was closed
            print(stopped, file=sys.stderr)
        return 130 if stopped.number == signal.SIGINT else stopped_status
    return 0


def parse(argv):
    """(Recipe, output folder, "dry_run" or "lr_finder" if that is asked for instead of a run, else None, exit code).

    The recipe's own values are the options' defaults.
    """
    from keras_vit.training import recipe as recipes
    from keras_vit.training.settings import GROUPS

    name, folder = _chosen(argv)
    base = recipes.load(name).replace(dataset="folder") if folder else recipes.load(name)
    own = "--recipe", "--output", "--dry-run", "--lr-finder", "--stopped-status", "--max-pixels", "--help"
    argv = refuse_unknown(argv, GROUPS.values(), own)
    options = parser(name, base)
    arguments = vars(options.parse_args(argv))
    arguments.pop("recipe")
    output, status = arguments.pop("output"), arguments.pop("stopped_status")
    asked = [name for name in ("dry_run", "lr_finder") if arguments.pop(name)]
    if len(asked) > 1:
        options.error("--dry-run and --lr-finder are two things. Give one of them.")
    if not 0 <= status < 256:
        options.error(f"--stopped-status is an exit code, from 0 to 255. Received: {status}.")
    if output is None and not asked:
        options.error("the following arguments are required: --output")
    try:
        return base.replace(**arguments), output or Path(), next(iter(asked), None), status
    except ValueError as error:
        options.error(str(error))


def parser(name="finetune", base=None):
    """The options of `keras-vit train`: the folder, and every setting, with the values of the recipe `name`."""
    from keras_vit.training import recipe as recipes
    from keras_vit.training.settings import GROUPS

    base = base or recipes.load(name)
    names = textwrap.fill(", ".join(recipes.names()), 110, initial_indent="    ", subsequent_indent="    ")
    parser = verb_parser("train", DESCRIPTION.format(chosen=name, names=names))
    parser.usage = "keras-vit train [--recipe NAME] [--data-dir DIR] --output DIR [--dry-run] [--lr-finder] [settings]"
    parser.add_argument("--recipe", choices=recipes.names(), metavar="NAME", help="where the settings come from")
    parser.add_argument(
        "--output", type=places.path_of, metavar="DIR", help="the run folder, or its URL: s3://bucket/runs/photos"
    )
    parser.add_argument(
        "--dry-run",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="say what would be done, and write an augmented batch as dry_run.png into the folder (by default: here)",
    )
    parser.add_argument(
        "--lr-finder",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="train 100 updates at rising rates instead, and write lr_finder.png and lr_finder.csv into the folder (by "
        "default: here) with a suggestion for --lr",
    )
    parser.add_argument(
        "--stopped-status",
        type=int,
        default=0,
        metavar="N",
        help="exit code of a run that SIGTERM or SIGHUP ended early, for schedulers that start again what does not "
        "exit with 0, usually 75, EX_TEMPFAIL (default: 0)",
    )
    add_max_pixels(parser)
    for title, kind in GROUPS.items():
        add_group(parser, title, kind, base.settings(), {"model": complete_name, "teacher": complete_name})
    return parser


def _chosen(argv):
    """Name of the recipe that the arguments ask for, and whether they name a folder of images."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe")
    first.add_argument("--data-dir", "--data_dir")
    known, _ = first.parse_known_args(argv)
    return known.recipe or ("finetune" if known.data_dir else "quickstart"), bool(known.data_dir)
