"""`python -m examples.studies`: see examples/studies/run.py."""

from examples.studies.run import main

main()
