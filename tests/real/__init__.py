"""Trained weights: the one checkpoint that a Python package carries, against ONNX Runtime (`make test-real`)."""
