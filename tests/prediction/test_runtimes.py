"""Counting parameters and loading SavedModels; the rest is tested through the predictor."""

from keras_vit.prediction.runtimes import load_saved_model, parameters


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
