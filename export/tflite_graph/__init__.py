"""A .tflite file as a graph: read, looked through, and rewritten into an equivalent one for int8 or for GPUs."""
