"""What is exported: the model with its preprocessing and labels, and the functions that every format is traced from."""
