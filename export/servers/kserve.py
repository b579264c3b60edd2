"""inference_service.yaml: a KServe InferenceService (serving.kserve.io/v1beta1) that serves a folder's model.

Three runtimes: Triton and TF Serving, which KServe brings as kserve-tritonserver and kserve-tensorflow-serving, and
OpenVINO Model Server, for which the manifest has a ServingRuntime (v1alpha1) of its own. Triton gets the folder of all
models, the others that of one; a TF Serving or OpenVINO server calls the model like the service.
"""

import json
import re

from keras_vit.export.servers import ovms, triton
from keras_vit.export.serving.operators import SERVING
from keras_vit.export.serving.serving_config import service_name

MANIFEST = "inference_service.yaml"
RUNTIMES = ("triton", "ovms", "tfserving")
PLACEHOLDER = "pvc://CLAIM/FOLDER"  # of --storage-uri
SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {service}
spec:
  predictor:
    model:
      modelFormat:
        name: {format}
      protocolVersion: {protocol}
      runtime: {runtime}{version}
      storageUri: {uri}
      resources:
        requests: {{cpu: "2", memory: 2Gi}}
        limits: {{memory: 4Gi}}
"""
OVMS_RUNTIME = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata:
  name: {runtime}
spec:
  supportedModelFormats:
    - name: onnx
      version: "1"
  protocolVersions: [v2, grpc-v2]
  containers:
    - name: kserve-container
      image: {image}
      args:
        - --model_name={{{{.Name}}}}
        - --model_path=/mnt/models
        - --port=9000
        - --rest_port=8080
      ports:
        - containerPort: 8080
          protocol: TCP
---
"""


def manifest(name, runtime, storage_uri=None):
    """The content of inference_service.yaml.

    Args:
        name: of the model.
        runtime: of RUNTIMES.
        storage_uri: where the folder's models/ was copied to, in a form that KServe reads (pvc://, s3://, gs://,
            https://, ...); None for a placeholder.

    Raises:
        ValueError: for another runtime, and for what is no URI.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"Expected one of the runtimes {', '.join(RUNTIMES)}. Received: {runtime!r}.")
    if storage_uri is not None and not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", storage_uri):
        raise ValueError(f"A storage URI is like pvc://claim/folder or s3://bucket/folder. Received: {storage_uri!r}.")
    models = (storage_uri or PLACEHOLDER).rstrip("/")
    service = service_name(name)
    settings = {
        "triton": ("onnx", "v2", "kserve-tritonserver", triton.IMAGE.partition(":")[2], models),
        "ovms": ("onnx", "v2", f"{service}-ovms", None, f"{models}/{name}"),
        "tfserving": ("tensorflow", "v1", "kserve-tensorflow-serving", SERVING, f"{models}/{name}"),
    }
    format, protocol, called, version, uri = settings[runtime]
    text = SERVICE.format(
        service=service,
        format=format,
        protocol=protocol,
        runtime=called,
        version=f"\n      runtimeVersion: {json.dumps(version)}" if version else "",
        uri=json.dumps(uri),
    )
    return OVMS_RUNTIME.format(runtime=called, image=ovms.IMAGE) + text if runtime == "ovms" else text
