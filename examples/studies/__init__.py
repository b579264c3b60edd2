"""The papers' ablations, repeated with small models: `python -m examples.studies`."""
