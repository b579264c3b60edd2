"""Records the files beside it with PyTorch itself (2.13): python record.py

The tests compare them with formulas, so nothing else needs recording.
"""

import argparse
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent


def state_dict():
    """Return one tensor of every kind the readers know; the tests restate the numbers."""
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return {
        "plain": base / 7,
        "half": (base / 7).half(),
        "bfloat16": (base / 7).bfloat16(),
        "double": base.double() / 7,
        "steps": torch.tensor(123456789012, dtype=torch.int64),
        "bool": torch.tensor([True, False, True]),
        "transposed": base.t(),
        "row": base[1],  # shares the storage of "transposed"
        "expanded": torch.tensor([5.0]).expand(2, 3),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base + 1),
    }


def main():
    model = torch.nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(torch.arange(6.0).reshape(3, 2))
        model.bias.copy_(torch.arange(3.0))
    checkpoint = {
        "epoch": 300,
        "max_accuracy": np.float64(81.3),
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu"), dtype=torch.float16, shape=torch.Size([2])),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
        "model": ({f"module.{name}": tensor for name, tensor in model.state_dict().items()} | {"module.version": 2}),
    }
    for suffix, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        torch.save(state_dict(), HERE / f"state_dict_{suffix}.pth", **options)
        torch.save(checkpoint, HERE / f"checkpoint_{suffix}.pth", **options)
    torch.save(model.state_dict(), HERE / "linear_zip.pth")  # an OrderedDict with _metadata


if __name__ == "__main__":
    main()
