"""Fine-tune a large model by few parameters: additions of rank 8 to its matrices, and a new classifier (LoRA).

    keras-vit train --recipe finetune_lora --data-dir photos --output runs/photos
    keras-vit train --recipe finetune_lora --data-dir photos --output runs/photos --model DINOv2B --lora-rank 16

Beside model.keras the run folder gets adapter.safetensors, which `keras_vit.load_adapter` adds to the published
weights. Rank 8 and an alpha of twice the rank are usual; ranks from 1 to 64 differ little (Hu et al., arXiv:2106.09685,
Table 6). What is added begins at zero, and takes a rate some ten times that of whole weights. DINOv2 was trained
without labels and is published at 518 pixels, which cost more than five times what 224 do.

Time and accuracy: depend on the images; not measured. Expected top-1: no published figure; not reproduced here.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="DINOv2S",
    dataset="folder",
    weights="imagenet",
    img_size=(224, 224),
    lora_rank=8,
    lora_alpha=16.0,
    epochs=15,
    batch_size=32,
    lr=1e-3,
    warmup_epochs=1,
    weight_decay=0.01,
    smoothing=0.1,
    scale=(0.6, 1.0),
    hflip=0.5,
)
