"""ConvNeXt from scratch on ImageNet -- Liu et al., arXiv:2201.03545, Appendix A.1, Table 5.

    keras-vit train --recipe convnext --dataset records --data-dir imagenet --output runs/convnext_t
    keras-vit train --recipe convnext --model ConvNeXtB --drop-path 0.5 --grad-accum-steps 4 ...

drop_path is 0.1 for ConvNeXtT, 0.4 for S, 0.5 for B and L; for ConvNeXtIsoS and B it is 0.1 and 0.2, after a warm-up of
50 epochs. All else is as in `deit`. Learning rate: 4e-3 for a batch of 4,096; the paper gives no rule for others.

Expected: top-1 82.1 % (ConvNeXtT), 83.1 % (S), 83.8 % (B), 84.3 % (L), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(
    model="ConvNeXtT",
    batch_size=4096,
    lr=4e-3,
    min_lr=1e-6,
    warmup_epochs=20,
    drop_path=0.1,
    model_ema_decay=0.9999,
    aug_repeats=1,
)
