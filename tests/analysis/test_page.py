"""The page holds what it is given, escaped, and fetches nothing."""

from html.parser import HTMLParser

import pytest

from keras_vit.analysis.page import Cell, Row, Section, render

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects attributes and texts."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page():
    shown = Row("Relevance", "Where <it> lies.", (Cell("model1/a.png", (640, 480), "A figure"), Cell(note="None: why")))
    scores = Row("Prediction", "Best classes.", (Cell(scores=(("red & blue", 0.75),)), Cell(scores=(("green", 1.0),))))
    missing = Row("Biases", "What is added.", (Cell(note="None: no bias"), Cell(note="None: nor here")))
    sections = [Section("<flower>.jpg", (scores, shown)), Section("The models", (missing,))]
    return render("Inside A & B", ["A", "<B>"], sections)


def test_models_stand_side_by_side_in_every_row():
    reader = Reader(page())
    rows = [div for div in reader.all("div") if div.get("class") == "models"]
    assert [row["style"] for row in rows] == ["--columns: 2"] * 2
    assert reader.texts.count("A") == reader.texts.count("<B>") == 2
    (image,) = reader.all("img")
    assert (image["src"], image["alt"], image["width"], image["height"]) == ("model1/a.png", "A figure", "640", "480")


def test_texts_are_escaped():
    reader = Reader(page())
    assert {"Inside A & B", "<flower>.jpg", "Where <it> lies.", "red & blue", "75.0 %"} <= set(reader.texts)


def test_it_is_readable_everywhere():
    text, reader = page(), Reader(page())
    assert reader.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all("meta")
    assert "@media (max-width" in text and 'aria-label="Colours"' in text
    assert all(image["alt"] for image in reader.all("img"))


def test_nothing_is_fetched():
    text, reader = page(), Reader(page())
    assert "http" not in text and "url(" not in text and not reader.all("script") and not reader.all("link")
    assert {link["href"] for link in reader.all("a")} == {"#s0", "#s1", "model1/a.png"}


def test_what_no_model_has_is_listed_once_with_the_reasons():
    reader = Reader(page())
    assert "What none of the models has" in reader.texts
    assert {"A: None: no bias", "<B>: None: nor here"} <= set(reader.texts)
    assert "What is added." not in reader.texts


def test_a_row_without_a_cell_for_every_model_is_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        render("t", ["A", "B"], [Section("s", (Row("r", "", (Cell("a.png"),)),))])
