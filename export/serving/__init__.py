"""For TF Serving: a SavedModel, and the bundle that a server starts from."""
