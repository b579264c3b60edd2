"""Image files on disk: which there are, of which class and split, and which were left out and why."""
