"""Lets timm and transformers import a torchvision that was built for another torch; import it before them."""

import torch

if not torch.cuda.is_available():  # such a torchvision registers operators that a CPU's torch does not have
    torch.library.register_fake = lambda *arguments, **options: lambda function: function
