"""One file per recipe: `RECIPE = Recipe(...)`, and a docstring with what to type, how long it takes and what comes out."""
