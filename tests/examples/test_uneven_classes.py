import json

from examples import fashion_mnist, uneven_classes


def test_every_remedy_changes_settings_that_the_recipe_has():
    assert uneven_classes.REMEDIES["none"] == {}
    recipes = {name: fashion_mnist.RECIPE.replace(**changes) for name, changes in uneven_classes.REMEDIES.items()}
    assert len({json.dumps(one.settings()) for one in recipes.values()}) == len(recipes)
