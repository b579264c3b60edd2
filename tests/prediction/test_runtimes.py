"""Counting parameters and loading SavedModels; the rest is tested through the predictor."""

from keras_vit.prediction.runtimes import load_saved_model, parameters, weights_file


def test_parameters_are_counted_once_over_all_signatures(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.weight, module.bias = tf.Variable(tf.ones((3, 4))), tf.Variable(tf.ones(4))
    one = tf.function(lambda x: {"y": x @ module.weight + module.bias}, [tf.TensorSpec([None, 3])])
    other = tf.function(lambda x: {"y": x @ module.weight}, [tf.TensorSpec([None, 3])])
    tf.saved_model.save(module, str(tmp_path / "1"), {"one": one, "other": other})
    assert parameters(load_saved_model(tmp_path / "1")) == 16
    tf.saved_model.save(
        tf.Module(), str(tmp_path / "2"), {"one": tf.function(lambda x: {"y": x}, [tf.TensorSpec([3])])}
    )
    assert parameters(load_saved_model(tmp_path / "2")) is None


def test_parameters_that_are_stated_count_and_constants_are_in_the_graph(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.parameter_count = tf.Variable(2**33, dtype=tf.int64)
    module.weight = tf.Variable(tf.ones(4))
    module.constant = tf.function(lambda x: {"y": x * 2.0}, [tf.TensorSpec([4])])
    module.variable = tf.function(lambda x: {"y": x * module.weight}, [tf.TensorSpec([4])])
    for version, function in (("1", module.constant), ("2", module.variable)):
        tf.saved_model.save(module, str(tmp_path / version), {"one": function})
        assert parameters(load_saved_model(tmp_path / version)) == 2**33
    found = [weights_file(load_saved_model(tmp_path / version), tmp_path / version).name for version in ("1", "2")]
    assert found == ["saved_model.pb", "variables.data-00000-of-00001"]
