"""`keras-vit push`: a run or a model as a repository of the Hugging Face hub."""

import sys

from keras_vit.cli.arguments import add_input_values, complete_model, verb_parser
from keras_vit.system import startup

DESCRIPTION = """\
Upload a run, or a .keras file, with a model card made from what was measured, in one commit:

    keras-vit push runs/photos me/photos --dry-run
    keras-vit push runs/photos me/photos --license apache-2.0

  model.keras run.json preprocessing.json labels.txt results.csv   the run; hf://me/photos opens it
  README.md                                                        the model card
  config.json model.safetensors transformers/                      the same model for timm and for transformers, where
                                                                   these have its family

Nothing else goes up: no images, checkpoints or logs, and no paths of this machine. Sign in before with
`hf auth login`, or put a token that may write into HF_TOKEN.
"""


def parser():
    """The options of `keras-vit push`."""
    parser = verb_parser("push", DESCRIPTION)
    parser.add_argument("source", metavar="RUN_OR_MODEL", help="a run folder or a .keras file").completer = (
        complete_model
    )
    parser.add_argument("repository", metavar="OWNER/NAME", help="the repository; made if it does not exist")
    add = parser.add_argument
    add("--dry-run", action="store_true", help="only show what would go up, and the card; nothing is asked of the hub")
    add("--private", action="store_true", help="make a new repository private")
    add("--revision", metavar="BRANCH", help="commit to this branch, made if it does not exist (default: main)")
    add("--message", metavar="TEXT", help="of the commit")
    add(
        "--license",
        metavar="NAME",
        help="of the model, for the card, as the hub calls it: apache-2.0, mit, cc-by-4.0, ...",
    )
    add("--update", action="store_true", help="replace the files that the repository has")
    add(
        "--evaluation",
        metavar="DIR",
        help="what `keras-vit validate --output DIR` measured of this model, for the card (default: it is measured "
        "now, on the run's test images, if these are all there)",
    )
    add("--no-measure", action="store_true", help="measure nothing now")
    add("--preprocessing", metavar="FILE|NAME", help="for a .keras file: as for `keras-vit export`")
    add("--labels", metavar="FILE", help="for a .keras file: the classes' names, one per line")
    add_input_values(parser)
    return parser


def main(argv=None):
    """Push what the arguments say, or show it; 0, or an error."""
    arguments = parser().parse_args(argv)

    startup.start_tensorflow()
    from keras_vit.export.hub.push import push
    from keras_vit.export.parity.parity import on_cpu

    on_cpu()
    pushed = push(
        arguments.source,
        arguments.repository,
        preprocessing=arguments.preprocessing,
        labels=arguments.labels,
        input_values=arguments.input_values,
        revision=arguments.revision,
        private=arguments.private,
        message=arguments.message,
        licence=arguments.license,
        evaluation=arguments.evaluation,
        measure=not arguments.no_measure,
        update=arguments.update,
        dry_run=arguments.dry_run,
    )
    for warning in pushed.warnings:
        print(f"keras-vit push: WARNING: {arguments.source}: {warning}", file=sys.stderr)
    print(pushed)
    if arguments.dry_run:
        print(f"\nREADME.md:\n\n{pushed.card}")
    return 0
