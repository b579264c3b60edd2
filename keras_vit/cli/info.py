"""`keras-vit info`: what is known of one model."""

import argparse


def main(argv=None):
    """Print paper, parameters, weights with licence and preprocessing."""
    parser = argparse.ArgumentParser("keras-vit info", description="Describe a model.")
    parser.add_argument("name", help="SwinT, SwinT.ms_in22k_ft_in1k, or timm's name")
    arguments = parser.parse_args(argv)

    from keras_vit.zoo import info

    print(info(arguments.name))
    return 0
