"""`keras-vit download`: published weights and models of the hub, checked, into the cache of huggingface_hub."""

from pathlib import Path

from keras_vit.cli.arguments import complete_name, verb_parser


def parser():
    """The options of `keras-vit download`."""
    parser = verb_parser("download", "Fetch weights; what the cache has is not fetched again.")
    text = "SwinT, SwinT.ms_in22k, ..., or hf://owner/name"
    names = parser.add_argument("names", nargs="+", metavar="NAME[.TAG]", help=text)
    names.completer = complete_name
    return parser


def main(argv=None):
    """Fetch each named set of weights and print where it lies."""
    arguments = parser().parse_args(argv)

    from keras_vit.sources import hub
    from keras_vit.sources.registry import resolve_row
    from keras_vit.weights.download import fetch

    # a wrong name before any traffic
    named = [hub.parse(name) if hub.is_reference(name) else resolve_row(name) for name in arguments.names]
    for row in named:
        if isinstance(row, hub.Reference):
            print(f"{row}\n  {hub.folder(str(row))}")
            continue
        path = Path(fetch(row))
        print(f"{row.name}  {path.stat().st_size / 1e6:.1f} MB  {row.licence}\n  {path}")
    return 0
