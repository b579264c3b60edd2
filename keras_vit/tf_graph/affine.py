"""Factors and offsets per channel, folded into the dense layers and convolutions before or behind them.

    into_previous   layer scale, BatchNorm, the query's factor: y = a (W x + b) + c becomes (a W) x + (a b + c)
    into_next       LayerNorm's scale and shift, the normalisation of pixels: y = W (a x + c) + b becomes
                    (W a) x + (W c + b)

Only where the result is the same for every input: all that takes the folded tensor takes it as the product gives or
takes it, up to operators that leave channels where they are (`channels`), and nobody else shares the kernel. An offset
does not pass where zeros are added beside the image, since they would have to be moved as well; then the factor alone
is folded, a x + c = a (x + c / a).
"""

from typing import NamedTuple

import numpy as np

from keras_vit.tf_graph.channels import FOREIGN, follow
from keras_vit.tf_graph.products import Product, products


class Affine(NamedTuple):
    """factor * x + offset of constants, one of which does nothing.

    Attributes:
        operator: itself, whose output has the shape of x.
        place: of x among its inputs.
        factor, offset: arrays that can be broadcast to x's shape; None for none.
    """

    operator: object
    place: int
    factor: np.ndarray | None
    offset: np.ndarray | None

    @property
    def source(self):
        """The tensor x."""
        return self.operator.inputs[self.place]

    @classmethod
    def of(cls, graph, operator):
        """The `Affine` that an operator is; None if it is none."""
        if operator is None or operator.kind not in KINDS or graph.shape(operator.output) is None:
            return None
        if operator.kind == "Neg":
            return cls(operator, 0, np.float32(-1), None)
        for place in (0, 1):
            other = graph.constant(operator.inputs[1 - place])
            same = graph.shape(operator.inputs[place]) == graph.shape(operator.output)
            if other is not None and graph.constant(operator.inputs[place]) is None and same:
                made = KINDS[operator.kind](other, place) if other.dtype == np.float32 else None
                return made and cls(operator, place, *made)
        return None

    def per_channel(self, graph):
        """Itself with factor or offset (C,), for x's last axis; None if they differ from place to place."""
        channels = graph.shape(self.source)[-1]
        values = [_along_last(value, channels) for value in (self.factor, self.offset)]
        known = [one is None or other is not None for one, other in zip((self.factor, self.offset), values)]
        return self._replace(factor=values[0], offset=values[1]) if all(known) else None


KINDS = {
    "Neg": None,
    "Mul": lambda other, place: (other, None),
    "AddV2": lambda other, place: (None, other),
    "BiasAdd": lambda other, place: (None, other) if place == 0 else None,
    "Sub": lambda other, place: (None, -other) if place == 0 else None,
    "RealDiv": lambda other, place: (1 / other, None) if place == 0 and other.all() else None,
}


def _along_last(value, channels):
    if value is None or value.ndim and value.size != value.shape[-1]:
        return None
    return np.broadcast_to(value.ravel(), (channels,)) if value.size in (1, channels) else None


def _affine(graph, operator):
    found = Affine.of(graph, operator)
    return found and found.per_channel(graph)


# Into the product before ------------------------------------------------------------------------------------------


def fold_into_previous(graph):
    """Fold factors and offsets behind products into them.

    Args:
        graph: a `Graph`, which is changed.
    """
    for product in products(graph):
        while not product.is_shared() and _fold_one_back(graph, product):
            pass
    graph.remove_unused()


def _fold_one_back(graph, product):
    """Fold one of the operators behind a product; whether there was one."""
    if graph.shape(product.output) is None:
        return False
    ends = follow(graph, product.output) or []
    for end in ends:
        found = Affine.of(graph, end.operator)
        if found is None or found.place != end.place or not _only_end(end, ends):
            continue
        values = _by_channel(found, end, product.outputs)
        if values is not None:
            product.scale_outputs(values) if found.offset is None else product.shift_outputs(values)
            graph.remove(found.operator, found.place)
            return True
    return False


def _only_end(end, ends):
    """Whether no other end sees a channel that this one sees."""
    return not any(np.isin(end.reached, other.reached).any() for other in ends if other is not end)


def _by_channel(found, end, count):
    """What is multiplied with or added to each channel, (C,); None if that differs from place to place."""
    offset = found.factor is None
    value = np.broadcast_to(found.offset if offset else found.factor, end.labels.shape)
    if (end.labels == FOREIGN).any() or offset and not (end.sums_to_one and (end.labels >= 0).all()):
        return None
    values, known = np.full(count, 0 if offset else 1, "float32"), end.labels >= 0
    values[end.labels[known]] = value[known]
    return values if (values[end.labels[known]] == value[known]).all() else None


# Into the products behind -----------------------------------------------------------------------------------------


def fold_into_next(graph):
    """Fold factors and offsets in front of products into them, the nearest first.

    Args:
        graph: a `Graph`, which is changed.
    """
    for operator in reversed(graph.operators):
        found = _affine(graph, operator)
        if found is None or _is_bias(graph, found):
            continue
        if not _fold_forward(graph, found):
            _fold_factor_alone(graph, found)
    graph.remove_unused()


def _is_bias(graph, found):
    before = graph.producer(found.source)
    product = before and Product.of(graph, before)
    return bool(product) and product.bias_operator is found.operator


def _fold_forward(graph, found):
    """Fold a factor or an offset into all products that see it, if only such do; whether it was folded."""
    seen = _products_behind(graph, found.operator.output, moving=found.factor is None)
    for product, channels in seen:
        if found.factor is None:
            product.shift_inputs(found.offset[channels])
        else:
            product.scale_inputs(found.factor[channels])
    if seen:
        graph.remove(found.operator, found.place)
    return bool(seen)


def _fold_factor_alone(graph, moved):
    """Of a x + c of which c cannot be folded, fold a: a (x + c / a)."""
    scaled = _affine(graph, graph.producer(moved.source))
    if moved.offset is None or scaled is None or scaled.factor is None or not graph.is_taken_once(moved.source):
        return
    if not scaled.factor.all() or not _products_behind(graph, moved.operator.output, moving=False):
        return
    name, shape = moved.operator.name, graph.shape(moved.source)
    offset = graph.add_constant(f"{name}/offset", moved.offset / scaled.factor)
    first = graph.add_operator(f"{name}/first", "AddV2", [scaled.source, offset], shape)
    factor = graph.add_constant(f"{name}/factor", scaled.factor)
    second = graph.add_operator(f"{name}/second", "Mul", [first, factor], shape)
    graph.replace(moved.operator.output, second)
    graph.remove(moved.operator, moved.place)
    _fold_forward(graph, _affine(graph, graph.producer(second)))


def _products_behind(graph, tensor, moving):
    """[(product, the channel of each of its inputs)] of all that see a tensor; [] if anything else does.

    Args:
        moving: whether an offset shall pass, and not a factor.
    """
    found = []
    for end in follow(graph, tensor) or []:
        if end.channels is None:
            return []
        product = Product.of(graph, end.operator)
        if product.is_shared() or moving and (product.pads() or not end.sums_to_one):
            return []
        found.append((product, end.channels))
    return found
