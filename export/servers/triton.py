"""config.pbtxt, by which NVIDIA's Triton Inference Server knows a model: its ends, its batches, its warm-up.

It is the text form of inference.ModelConfig (model_config.proto of triton-inference-server/common). Dimensions leave
the batch out; an output of one number per image has [1] and is reshaped. Labels belong to the model, not to a version.
"""

import json

IMAGE = "nvcr.io/nvidia/tritonserver:25.12-py3"
CONFIG, LABELS = "config.pbtxt", "labels.txt"
DELAY = 2000  # microseconds that the first request of a batch waits for others
CLASSES = "probabilities"  # the output whose places have labels
TEMPLATE = """\
name: {name}
platform: "onnxruntime_onnx"
max_batch_size: {most}
input [ {inputs} ]
output [
{outputs}
]
version_policy {{ latest {{ num_versions: 1 }} }}
dynamic_batching {{
  preferred_batch_size: {sizes}
  max_queue_delay_microseconds: {delay}
}}
{warmup}
"""
WARMUP = """\
model_warmup {{
  name: "batch of {size}"
  batch_size: {size}
  inputs {{ key: {input} value {{ data_type: TYPE_FP32 dims: {dims} zero_data: true }} }}
}}"""


def config(name, ends, sizes, labels=True):
    """The content of config.pbtxt.

    Args:
        name: of the model, and of its folder.
        ends: {"inputs": {name: shape}, "outputs": {name: shape}} of the ONNX file, float32, the batch's None first.
        sizes: of batches, ascending; the last is the largest that a request may have.
        labels: whether there is a labels.txt.
    """
    [(given, (_, *dims))] = ends["inputs"].items()
    outputs = [_output(output, shape[1:], labels) for output, shape in ends["outputs"].items()]
    return TEMPLATE.format(
        name=json.dumps(name),
        most=sizes[-1],
        inputs=f"{{ name: {json.dumps(given)} data_type: TYPE_FP32 dims: {dims} }}",
        outputs=",\n".join(f"  {output}" for output in outputs),
        sizes=list(sizes),
        delay=DELAY,
        warmup="\n".join(WARMUP.format(size=size, input=json.dumps(given), dims=dims) for size in sizes),
    )


def _output(name, dims, labels):
    """An output; one number per image is an output of one dimension, which the model does not have."""
    shape = f"dims: {list(dims)}" if dims else "dims: [1] reshape { shape: [] }"
    file = f' label_filename: "{LABELS}"' if labels and name == CLASSES else ""
    return f"{{ name: {json.dumps(name)} data_type: TYPE_FP32 {shape}{file} }}"
