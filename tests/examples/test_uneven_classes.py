import json

from examples import fashion_mnist, uneven_classes


def test_every_remedy_changes_settings_that_the_recipe_has():
    assert uneven_classes.REMEDIES["none"] == {}
    recipes = {name: fashion_mnist.RECIPE.replace(**changes) for name, changes in uneven_classes.REMEDIES.items()}
    assert len({json.dumps(one.settings()) for one in recipes.values()}) == len(recipes)


def test_the_table_has_means_and_ranges():
    measured = {"frequent_half": 80.0, "rare_half": 60.0, "rarest": 10.0}
    rows = [{"remedy": "none", "seed": seed, "balanced_accuracy": 70.0 + seed} | measured for seed in (0, 2)]
    *_, line = uneven_classes.table(rows).splitlines()
    assert line.startswith("| none | 0, 2 | 71.00 (70.00 - 72.00) | 80.00 (80.00 - 80.00) |")
