"""The house's docstrings as reStructuredText."""

import pytest

from docs.docstrings import process, to_rst


@pytest.mark.parametrize(
    "line, expected",
    [
        ("The map `B_` of *one* |x| head_.", r"The map ``B_`` of \*one\* \|x\| head\_."),
        ("Names such as stage_block stay.", "Names such as stage_block stay."),
        ("Returns:  (B, h).", ":Returns: (B, h)."),
    ],
)
def test_a_line(line, expected):
    assert to_rst([line]) == [expected]


def test_input_and_output_on_one_line_are_two_fields():
    lines = to_rst(["Text.", "Input:   (B, N, C).      Output: (B, K)."])
    assert lines == ["Text.", "", ":Input: (B, N, C).", ":Output: (B, K)."]


def test_a_field_may_have_its_text_below():
    lines = to_rst(["Returns:", "    The map `x`."])
    assert lines == [":Returns:", "    The map ``x``."]


def test_indented_code_is_literal_and_ends_with_its_block():
    lines = to_rst(["Say:", "    a = *b*", "", "More *text*."])
    assert lines == ["Say:", "", "::", "", "    a = *b*", "", r"More \*text\*."]


def test_entries_are_left_to_napoleon():
    lines = to_rst(["Args:", "    x: `a` or b_.", "        more", "Raises:", "    ValueError: for `x`."])
    assert lines == ["Args:", r"    x: ``a`` or b\_.", "        more", "", "Raises:", "    ValueError: for ``x``."]


def test_attributes_that_share_a_text_stay_together():
    lines = to_rst(["Attributes:", "    left, right: two, say.", "    one: alone, too."])
    assert lines == ["Attributes:", "    left,right: two, say.", "    one: alone, too."]


def test_a_list_keeps_its_continuation_lines():
    assert to_rst(["- one", "  more", "- two"]) == ["- one", "  more", "- two"]


def test_a_list_is_set_off_from_the_text_before_it():
    assert to_rst(["Differences:", "- one"]) == ["Differences:", "", "- one"]


def test_columns_stay_as_they_are():
    lines = to_rst(["Files", "", "model.keras    the *weights*", "               and more", "run.json       notes"])
    kept = ["    model.keras    the *weights*", "                   and more", "    run.json       notes"]
    assert lines == ["Files", "", "", "::", "", *kept]


def test_the_handler_changes_the_lines_that_sphinx_gave():
    lines = ["`a`"]
    process(None, "function", "f", None, None, lines)
    assert lines == ["``a``"]
