"""Mean attention distance -- Dosovitskiy et al., ViT, arXiv:2010.11929, Sec. 4.5, Fig. 7 right, App. D.7.

How far, in pixels of the image, a head looks: the analogue of a convolutional network's receptive field size.
"""

from keras_vit.analysis.attention import AttentionProbe, in_batches


def mean_attention_distance(model, images):
    """The distance between query and key, averaged by attention weight, for every head of every block.

    `AttentionMap.distances` says what is averaged: class tokens and padding are left out, and weights renormalised over
    the places of the image; of CoaT's effective maps, which may be negative, the magnitudes count. Attention that is
    the same for all keys has the mean distance of two places: for a square of side S cut into many patches 0.521 S.

    Args:
        model: as for `attention_maps`.
        images: (B, H, W, C) as the model takes them, preprocessed. The paper averages over 128.

    Returns:
        {name: (h,) pixels}, named and ordered as the maps of `attention_maps`.

    Raises:
        ValueError: for models without attention, for images of another shape, and for none.
    """
    probe, totals, count = AttentionProbe(model), {}, 0
    for batch in in_batches(images):
        count += len(batch)
        for name, attention in probe(batch):
            totals[name] = totals.get(name, 0.0) + len(batch) * attention.distances()
    return {name: total / count for name, total in totals.items()}
