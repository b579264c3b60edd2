"""`keras-vit download`: published weights, checked, into the cache of huggingface_hub."""

import argparse
from pathlib import Path


def main(argv=None):
    """Fetch each named set of weights and print where it lies."""
    parser = argparse.ArgumentParser(
        "keras-vit download", description="Fetch weights; what the cache has is not fetched again."
    )
    parser.add_argument("names", nargs="+", metavar="NAME[.TAG]", help="SwinT, SwinT.ms_in22k, ...")
    arguments = parser.parse_args(argv)

    from keras_vit.preprocessing import resolve_row
    from keras_vit.weights.download import fetch

    rows = [resolve_row(name) for name in arguments.names]  # a wrong name before any traffic
    for row in rows:
        path = Path(fetch(row))
        print(f"{row.name}  {path.stat().st_size / 1e6:.1f} MB  {row.licence}\n  {path}")
    return 0
