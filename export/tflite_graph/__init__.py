"""A .tflite file as a graph: read, looked through, and rewritten into an equivalent one that int8 harms less."""
