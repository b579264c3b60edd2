"""Attention maps of every family, stitched back to the image where attention stays inside windows or patches.

    model = keras_vit.models.SwinT()
    maps = keras_vit.analysis.attention_maps(model, images)  # images as the model takes them, (B, 224, 224, 3)
    maps["stage0_block1"].weights                            # (B n, h, N, N), as the block's n windows compute them
    maps["stage0_block1"].of_query(100, 40)                  # (B, h, 56, 56), what the window at that pixel looks at
    maps["stage0_block1"].received()                         # (B, h, 56, 56), what looks at each place

What is one dense matrix in the papers stays as compact as the block computes it: window by window, from all places to
a reduced map, and, for the linear attention of CoaT and of T2T-ViT's Performer, as the two factors of the matrix.

Letters: B images, n windows (1 where attention is global), h heads, Q queries, K keys, H W grid.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from keras_vit.analysis.places import Site, attending, sites
from keras_vit.layers.attention_hooks import observing
from keras_vit.models.coat import ParallelBlock

CHUNK = 2**18  # entries of weights read, or formed from factors, at once: they fit into a cache
BATCH = 8  # images whose weights are kept at once where they are only summed up


@dataclass(frozen=True, eq=False)
class AttentionMap(Site):
    """The weights of one attention of a model for a batch of images.

    Rows sum to 1 over all keys, class tokens and padding included; those of the Performer but for the epsilon beside
    its normaliser. CoaT's factorised attention (arXiv:2104.06399, Sec. 3.2) is linear in the values too, so that the
    weight with which query i takes the value of key j is known, d^-1/2 sum_c q_ic softmax_j(k_jc), but it may be
    negative, and rows have any sum (`signed`). CoaT's convolutional relative positions, q * conv(v), are added beside
    it and are no part of it.

    Attributes:
        left, right: weights, right None; or their factors, weights = left right^T.
    """

    left: np.ndarray = None
    right: np.ndarray | None = None

    @property
    def weights(self):
        """(B n, h, Q, K) float32, of window after window within an image; formed here if they are kept as factors."""
        return self.left if self.right is None else self.left @ self.right.swapaxes(-1, -2)

    def received(self):
        """Attention that each place of the image receives, averaged over the queries with a place.

        Its sum over the image is 1 but for what goes to class tokens and padding, and but for signed maps.

        Returns:
            (B, h, H, W), on the grid of the keys.
        """
        placed = (self.queries.cells >= 0).astype("float32")
        totals = sum(np.einsum("bnhqk,nq->bnhk", weights, placed[:, run]) for run, weights in self.runs())
        return self._on_keys(totals, slice(None)) / placed.sum()

    def of_query(self, y, x):
        """Where the query at a pixel of the image looks.

        Args:
            y, x: pixels from the upper left corner.

        Returns:
            (B, h, H, W), on the grid of the keys; 0 outside the query's window.

        Raises:
            ValueError: for pixels outside the image.
        """
        (height, width), (H, W) = self.queries.image, self.queries.grid
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"of_query: expected a pixel of the image, {height} x {width}. Received: y={y}, x={x}")
        cell = int(y * H / height) * W + int(x * W / width)
        window, query = np.argwhere(self.queries.cells == cell)[0]
        return self._row(window, query)

    def of_token(self, index=0):
        """Where a token beside the image looks: the class token, or with index 1 DeiT's distillation token.

        Returns:
            (B, h, H, W), on the grid of the keys.

        Raises:
            ValueError: where there is no such token.
        """
        if not 0 <= index < self.tokens:
            raise ValueError(
                f"of_token: {self.name} has {self.tokens} leading tokens (class, distillation). Received: "
                f"index={index}; of_query(y, x) and received() need none"
            )
        return self._row(0, index)

    def distances(self):
        """Mean attention distance of each head in pixels (ViT, arXiv:2010.11929, App. D.7).

        The distance between the places of query and key, averaged over keys by attention weight, then over queries
        and images. Class tokens and padding have no place: they are left out, and each query's weights divided by
        their sum over places. Of signed maps the magnitudes of the weights count. A query whose places have no weight
        is left out.

        Returns:
            (h,) float64; NaN for a head that looks at no place at all.
        """
        placed = (self.keys.cells >= 0).astype("float32")[:, None, :, None]  # n 1 K 1
        totals = counted = 0
        for run, weights in self.runs():
            weights = np.abs(weights) if self.signed else weights
            shares = (weights @ placed)[..., 0]  # B n h q
            weighted = np.einsum("bnhqk,nqk->bnhq", weights, self._between(run))
            seen = (shares > 0) & (self.queries.cells[:, None, run] >= 0)
            means = np.divide(weighted, shares, out=np.zeros_like(shares), where=seen)
            totals = totals + means.sum((0, 1, 3), "float64")
            counted = counted + seen.sum((0, 1, 3))
        return np.divide(totals, counted, out=np.full_like(totals, np.nan), where=counted > 0)

    def _between(self, run):
        """Pixels between the queries of a run and the keys, 0 where either has no place.  (n, q, K) float32."""
        y, x = np.moveaxis(self.queries.pixels[:, run, None] - self.keys.pixels[:, None], -1, 0).astype("float32")
        return np.nan_to_num(np.hypot(y, x))

    def mean_over_heads(self):
        """The map of one head that is the mean of all."""
        if self.left.shape[1] == 1:
            return self
        return replace(self, left=self.weights.mean(axis=1, keepdims=True), right=None)

    def runs(self):
        """The weights in runs of queries, so that large maps are never whole: (slice, (B, n, h, q, K)), ..."""
        left, right = (x if x is None else self._by_window(x) for x in (self.left, self.right))
        Q, K = self.queries.cells.shape[1], self.keys.cells.shape[1]
        B, n, h = left.shape[:3]
        length = max(1, CHUNK // (B * n * h * K))
        for start in range(0, Q, length):
            run = slice(start, start + length)
            rows = left[..., run, :]
            yield run, rows if right is None else rows @ right.swapaxes(-1, -2)

    def _by_window(self, x):
        """(B n, ...) -> (B, n, ...)."""
        return x.reshape(-1, len(self.queries.cells), *x.shape[1:])

    def _row(self, window, query):
        """The map of one query of one window."""
        row = self._by_window(self.left)[:, window, :, query]  # B h K
        if self.right is not None:
            row = np.einsum("bhm,bhkm->bhk", row, self._by_window(self.right)[:, window])
        return self._on_keys(row[:, None], [window])

    def _on_keys(self, values, windows):
        """Values of the keys of some windows at the keys' places.  (B, n, h, K) -> (B, h, H, W)."""
        cells = self.keys.cells[windows]
        placed, (H, W) = cells >= 0, self.keys.grid
        stitched = np.zeros((len(values), values.shape[2], H * W), "float32")
        stitched[:, :, cells[placed]] = values.swapaxes(1, 2)[:, :, placed]
        return stitched.reshape(*stitched.shape[:2], H, W)


def attention_maps(model, images):
    """The attention of every block of a model.

    TNT's blocks attend twice, "block0/inner" inside each patch and "block0/outer"; CoaT's parallel blocks once for
    each scale, "parallel0/stage1" and so on; T2T-ViT's module has the steps "tokens1" and "tokens2". PVT's keys lie on
    a smaller grid than its queries.

    Args:
        model: a model of this library, with or without its classifier, fresh or loaded from a .keras file.
        images: (B, H, W, C) as the model takes them, preprocessed; a few: ViTB16 at 224 needs 22 MB a block for one.

    Returns:
        {name: AttentionMap}, in the order of the model.

    Raises:
        ValueError: for models without attention, such as ConvNeXt, and for images of another shape.
    """
    return dict(AttentionProbe(model)(images))


class AttentionProbe:
    """Runs a model and yields its attention maps one after the other, so that only one is in memory.

    Args:
        model: as for `attention_maps`.

    Raises:
        ValueError: for models without attention.
    """

    def __init__(self, model):
        self.model, self.layers = model, attending(model)
        self.before = keras.Model(model.inputs, {layer.name: layer.input for layer in self.layers})
        self._sites = {}

    def sites(self, images):
        """Where each layer attends in images of the size of these: {layer: [Site, ...]}.

        Raises:
            ValueError: for images that the model does not take.
        """
        shape, expected = tuple(images.shape), tuple(self.model.inputs[0].shape[1:])
        if len(shape) != 4 or any(n not in (None, m) for n, m in zip(expected, shape[1:])):
            expected = ", ".join("any" if n is None else str(n) for n in expected)
            raise ValueError(f"images: expected (B, {expected}), as the model takes them. Received: {shape}")
        size = shape[1:3]
        if size not in self._sites:
            self._sites = {size: sites(self.model, size)}
        return self._sites[size]

    def __call__(self, images):
        """Images (B, H, W, C) -> (name, AttentionMap), block by block."""
        images = ops.convert_to_tensor(images)
        found, received = self.sites(images), self.before(images, training=False)
        for layer in self.layers:
            yield from _run(layer, received[layer.name], found[layer])


def _run(layer, inputs, sites):
    """The attention of one block: (name, AttentionMap), ..."""
    reports = []
    with observing(lambda left, right=None: reports.append((left, right))):
        layer(*_arguments(layer, inputs), training=False)
    for site, factors in zip(sites, reports, strict=True):
        left, right = (x if x is None else ops.convert_to_numpy(ops.cast(x, "float32")) for x in factors)
        yield site.name, AttentionMap(**vars(site), left=left, right=right)


def in_batches(images):
    """Runs of at most BATCH images.

    Raises:
        ValueError: if there are none.
    """
    images = ops.convert_to_numpy(images)
    if not len(images):
        raise ValueError(f"images: expected at least one. Received: an array of shape {images.shape}")
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _arguments(layer, inputs):
    """The positional arguments of a block: a tensor, several, or, of CoaT's parallel blocks, lists of three scales."""
    if not isinstance(inputs, (list, tuple)):
        return [inputs]
    if not isinstance(layer, ParallelBlock):
        return inputs
    scales = len(layer.output)
    return [inputs[i : i + scales] for i in range(0, len(inputs), scales)]
