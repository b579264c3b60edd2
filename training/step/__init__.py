"""One update: the model, its loss, the gradient, the optimizer, and the devices that share them."""
