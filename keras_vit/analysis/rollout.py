"""Attention rollout -- Abnar & Zuidema, arXiv:2005.00928: how far the output can be traced back to places of the image.

Letters: B images, H W grid, n windows, Q queries, K keys, t leading tokens.
"""

import numpy as np

from keras_vit.analysis.attention import AttentionProbe, in_batches


def attention_rollout(model, images):
    """The share of each place of the image in what the classifier reads, by attention alone.

    Each block passes on (A + I) / 2, A being the mean of its heads and I the residual connection, and the blocks are
    multiplied (Sec. 3). The result is the product's row of the class token, the mean of the class and the distillation
    token in DeiT, or the mean of all places where the model has no such token.

    Hierarchical models are followed to the map of their first block: A is window by window for Swin, and a place hands
    on its share evenly to the places that it was made of, by merging, by the next patch embedding, or, for the keys of
    PVT, by spatial reduction. The overlap of overlapping patches is left out. T2T-ViT's module counts as two blocks.
    TNT is followed through its outer blocks: its inner ones mix pixels of one patch.

    Args:
        model: as for `attention_maps`, but for CoaT.
        images: (B, H, W, C) as the model takes them, preprocessed.

    Returns:
        (B, H, W) float32, on the grid of the first block; each image sums to 1. What ends in a learned token or in the
        padding of windows is not part of the image and is left out; where nothing else remains, every place has 0.

    Raises:
        ValueError: for CoaT, whose factorised attention has weights of both signs, and as `attention_maps` does.
    """
    probe = AttentionProbe(model)
    if any(site.signed for found in probe.sites(images).values() for site in found):
        raise ValueError(
            "attention_rollout: expected a model whose attention weights are shares (ViT, DeiT, hybrids, Swin, TNT, "
            f"T2T-ViT, PVT). Received: {model.name!r}, whose factorised attention has weights of both signs; "
            "attention_maps shows its effective maps"
        )
    rolled = []
    for batch in in_batches(images):
        maps = [found.mean_over_heads() for name, found in probe(batch) if not name.endswith("/inner")]
        rolled.append(roll_out(maps))
    return np.concatenate(rolled)


def roll_out(maps):
    """One row of the product, from the last block to the first: no two blocks are ever multiplied as matrices."""
    tokens, places = _read_by_classifier(maps[-1])
    for attention in reversed(maps):
        places = spread(places, attention.queries.grid)
        tokens = tokens[:, : attention.tokens]  # a class token that begins at a later stage goes no further
        attended_tokens, attended_places = _attended(attention, tokens, places)
        tokens, places = (tokens + attended_tokens) / 2, (places + attended_places) / 2
    sums = places.sum(axis=(1, 2), keepdims=True)
    return np.divide(places, sums, out=np.zeros_like(places), where=sums > 0).astype("float32")


def _read_by_classifier(attention):
    """Shares of the last block's tokens (B, t) and places (B, H, W); they sum to 1."""
    B, t, (H, W) = len(attention.left) // len(attention.queries.cells), attention.tokens, attention.queries.grid
    return np.full((B, t), 1 / max(t, 1)), np.full((B, H, W), 0.0 if t else 1 / (H * W))


def _attended(attention, tokens, places):
    """What the keys get of the queries' shares, on the grid of the queries.  (B, t), (B, H, W) -> same."""
    B, t = tokens.shape
    shares = np.concatenate([tokens, places.reshape(B, -1), np.zeros((B, 1))], axis=1)
    queries = shares[:, _slots(attention.queries, t)]  # B n Q
    keys = sum(np.einsum("bnq,bnhqk->bnk", queries[..., run], weights) for run, weights in attention.runs())
    received = np.zeros((B, t + np.prod(attention.keys.grid) + 1))
    received[:, _slots(attention.keys, t)] = keys
    return received[:, :t], spread(received[:, t:-1].reshape(B, *attention.keys.grid), attention.queries.grid)


def _slots(places, tokens):
    """Of each query or key among [tokens, cells, padding].  (n, N)."""
    slots = np.where(places.cells < 0, -1, places.cells + tokens)
    slots[:, :tokens] = np.arange(tokens)
    return slots


def spread(places, grid):
    """Shares of a grid's cells, evenly over the cells of another that they cover.  (B, H, W) -> (B, H', W')."""
    if places.shape[1:] == grid:
        return places
    rows, columns = (_covered(old, new) for old, new in zip(places.shape[1:], grid))
    return np.einsum("bhw,hi,wj->bij", places, rows, columns)


def _covered(old, new):
    """The part of each of `old` equal cells of a line that lies in each of `new`; rows sum to 1.  (old, new)."""
    starts, others = np.arange(old)[:, None] / old, np.arange(new) / new
    common = np.minimum(starts + 1 / old, others + 1 / new) - np.maximum(starts, others)
    return old * np.maximum(common, 0)
