"""A run or a model as a repository of the Hugging Face hub: its files, its model card, and their upload."""
