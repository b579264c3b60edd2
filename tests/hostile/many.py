"""How many hostile inputs a test draws: few in `make test`, in its slow twin the number that the docs name."""

import hypothesis


def examples(count):
    """Settings of Hypothesis for `count` examples: the same ones in every run, none kept on the disk, no time limit."""
    return hypothesis.settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def drawn(strategy, count):
    """`count` values of a strategy, the same ones in every run."""
    values = []

    @hypothesis.settings(examples(count), phases=[hypothesis.Phase.generate])
    @hypothesis.given(strategy)
    def collect(value):
        values.append(value)

    collect()
    return values
