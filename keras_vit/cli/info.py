"""`keras-vit info`: what is known of one model."""

from keras_vit.cli.arguments import complete_name, verb_parser

NAME = "SwinT, SwinT.ms_in22k_ft_in1k, timm's name, a folder of transformers or timm, or its hf://owner/name"


def parser():
    """The options of `keras-vit info`."""
    parser = verb_parser("info", "Describe a model.")
    parser.add_argument("name", help=NAME).completer = complete_name
    return parser


def main(argv=None):
    """Print paper, parameters, weights with licence and preprocessing."""
    arguments = parser().parse_args(argv)

    from keras_vit.sources.registry import info

    print(info(arguments.name))
    return 0
