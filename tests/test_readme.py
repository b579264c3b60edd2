"""What the README says is what the repository holds."""

import re

from keras_vit.models import VARIANTS
from tests.docs import published

TEXT = (published.ROOT / "README.md").read_text(encoding="utf-8")
LINES = TEXT.splitlines()


def test_both_commands_are_there():
    assert "make quickstart" in TEXT and "make test" in TEXT


def test_it_stays_short():
    assert len(LINES) <= 150


def test_lines_outside_of_tables_are_short():
    assert [line for line in LINES if len(line) > 120 and not line.startswith("|")] == []


def test_it_counts_the_models_that_were_compared():
    assert f"{len(published.parity())} of {len(VARIANTS)} models" in " ".join(LINES)


def test_it_counts_the_models_with_published_weights():
    with_weights = sum(published.default_row(variant) is not None for variant in VARIANTS.values())
    assert f"{len(VARIANTS)} models, {with_weights} of them with published weights" in " ".join(LINES)


def test_replaced_packages_are_named_with_a_link():
    line = next(line for line in LINES if "tensorflow-addons" in line)
    assert "tf-keras-cv" in line and "docs/dependencies.md" in line


def test_its_image_is_that_of_the_script():
    from docs.figures import trained

    images = re.findall(r"!\[.+\]\((.+)\)", TEXT)
    assert images == [str(trained.TARGET.relative_to(published.ROOT))]
    assert trained.TARGET.stat().st_size < 300_000
