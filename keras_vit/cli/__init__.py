"""The `keras-vit` command: a file per verb."""
