"""From an index to a batch of pixels."""
