"""Other runtimes' formats, by Keras' exporters: ONNX and OpenVINO."""
