"""The comparisons that the papers rest on, repeated small: `python -m examples.studies`."""
