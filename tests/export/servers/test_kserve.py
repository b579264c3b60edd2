import pytest
import yaml

from keras_vit.export.servers import kserve, ovms, triton


def predictor(text):
    service = list(yaml.safe_load_all(text))[-1]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    return service["metadata"]["name"], service["spec"]["predictor"]["model"]


def test_triton_gets_the_folder_of_all_models():
    name, model = predictor(kserve.manifest("My_Digits.1", "triton", "s3://bucket/models/"))
    assert name == "my-digits-1" and model["storageUri"] == "s3://bucket/models"
    assert (model["runtime"], model["protocolVersion"], model["modelFormat"]["name"]) == (
        "kserve-tritonserver",
        "v2",
        "onnx",
    )
    assert triton.IMAGE.endswith(f":{model['runtimeVersion']}")


def test_openvino_gets_a_runtime_and_the_models_folder():
    runtime, service = yaml.safe_load_all(kserve.manifest("digits", "ovms"))
    model = service["spec"]["predictor"]["model"]
    assert runtime["metadata"]["name"] == model["runtime"] == "digits-ovms"
    [container] = runtime["spec"]["containers"]
    assert container["image"] == ovms.IMAGE and "--model_name={{.Name}}" in container["args"]
    assert model["storageUri"] == "pvc://CLAIM/FOLDER/digits" and "runtimeVersion" not in model


def test_tensorflow_serving_speaks_its_own_protocol():
    _, model = predictor(kserve.manifest("digits", "tfserving", "gs://b/m"))
    assert (model["modelFormat"]["name"], model["protocolVersion"]) == ("tensorflow", "v1")
    assert model["storageUri"] == "gs://b/m/digits"


@pytest.mark.parametrize("runtime, uri, message", [("mlserver", None, "triton, ovms"), ("triton", "models", "pvc://")])
def test_other_runtimes_and_paths_are_refused(runtime, uri, message):
    with pytest.raises(ValueError, match=message):
        kserve.manifest("digits", runtime, uri)
