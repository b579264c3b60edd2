"""What a name or a path stands for: models and weights by name, run folders, and loading weight files."""
