"""Which images, which labels, which split."""
