"""Gradient checkpointing -- Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174, Sec. 3.

In the forward pass each block keeps its input alone; its gradients begin with the block computed again. The inputs of
all blocks and what is in one of them are then in memory together, in place of what is in all of them.

Keras' RematScope computes a block again outside of the model's call: there nothing is dropped, and the gradients of a
model with stochastic depth are not those of its loss. Here the block is called in training mode both times, with the
seeds that its layers have the first time.
"""

import keras

from keras_vit.models.blocks import block_of, require_blocks
from keras_vit.system import keras_private


def forward(model, images):
    """A model's outputs in training mode, with each of its blocks to be computed again for the gradients.

    What blocks change, moving averages of batch normalisation, is assigned once, as by a call of the model.

    Args:
        model: a functional model of this library.
        images: (B, H, W, 3).
    Raises:
        ValueError: for a model without blocks.
    """
    require_blocks("grad_checkpointing", model)
    return keras_private.run_graph(model, images, lambda operation: _called_in_training(operation))


def _called_in_training(operation):
    if not isinstance(operation, keras.layers.Layer):
        return operation
    if block_of(operation.name) and operation.weights:
        return _recomputed(operation)
    return lambda *inputs, **options: operation(*inputs, **options | {"training": True})


def _recomputed(layer):
    """A function of a layer's inputs that returns its outputs, and keeps nothing of what is in between."""
    seeds = [v for v in layer.non_trainable_variables if v.path.endswith("seed_generator_state")]
    others = [v for v in layer.non_trainable_variables if not v.path.endswith("seed_generator_state")]

    def call(*inputs, **options):
        mapping = [(v, v.value) for v in seeds]  # before the call, which draws the next
        structure, changed = None, None

        def again(*tensors):
            nonlocal structure, changed
            with keras.StatelessScope(state_mapping=mapping) as scope:
                given = keras.tree.pack_sequence_as(inputs, tensors)
                outputs = layer(*given, **options | {"training": True})
            new = [(v, value) for v in others if (value := scope.get_current_value(v)) is not None]
            structure, changed = outputs, [v for v, _ in new]
            return [*keras.tree.flatten(outputs), *(value for _, value in new)]

        results = keras.remat(again)(*keras.tree.flatten(inputs))
        kept = len(results) - len(changed)
        for variable, value in zip(changed, results[kept:]):
            variable.assign(value)
        return keras.tree.pack_sequence_as(structure, results[:kept])

    return call
