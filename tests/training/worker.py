"""One of the processes of test_workers:

    python -m tests.training.worker DATA FOLDER '{"epochs": 2}'

trains the toy on one CPU device, as one of the workers that TF_CONFIG names, if it is set.
"""

import json
import sys

from keras_vit.cli.train import run
from tests.training import toy

if __name__ == "__main__":
    data, folder, settings = sys.argv[1:]
    try:
        sys.exit(run(toy.recipe(data_dir=data, **json.loads(settings)), folder))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
