"""ImageNet's classes: their names, and predictions in words."""
