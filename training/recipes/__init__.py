"""One file per recipe: `RECIPE = Recipe(...)`, and a docstring with its command, duration and result."""
