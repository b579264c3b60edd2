"""Tab completion of verbs, options, models and tags in bash and zsh, by argcomplete.

eval "$(register-python-argcomplete keras-vit)"
"""

import argparse

import argcomplete


def complete(verbs):
    """Answer the shell, which gives the line in the environment, and end the process.

    Args:
        verbs: {verb: (its line of help, its own parser)}.
    """
    argcomplete.autocomplete(command_parser(verbs), always_complete_options="long")


def command_parser(verbs):
    """The whole command as one parser of argparse."""
    parser = argparse.ArgumentParser("keras-vit")
    parser.add_argument("--version", action="store_true")
    subparsers = parser.add_subparsers(metavar="VERB")
    for verb, (line, own) in verbs.items():
        subparsers.add_parser(verb, help=line, parents=[own], add_help=False)
    return parser
