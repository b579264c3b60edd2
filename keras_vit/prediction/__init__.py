"""From an image to probabilities, with Keras, a SavedModel or a `.tflite` file underneath."""
