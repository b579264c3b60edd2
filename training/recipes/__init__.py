"""One file per recipe: `RECIPE = Recipe(...)`, and a docstring with what to type, how long it takes, what comes out."""
