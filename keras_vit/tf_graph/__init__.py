"""TensorFlow graphs of models, in which what does not depend on the image is computed once."""
