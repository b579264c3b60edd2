"""All figures of this package for given models and images, and the page that shows them.

index.html                   the page
model<m>/*.png               of model m, from 1: what it has learned
model<m>/image<i>*.png       of model m and image i, from 1
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.analysis.kinds import FACTS, OF_IMAGES, OF_MODELS, PREDICTION, Subject
from keras_vit.analysis.page import Cell, Row, Section, render
from keras_vit.imagenet.labels import decode_predictions
from keras_vit.models.blocks import blocks


def write_report(folder, predictors, names, images, top=5):
    """Write the page and its figures into a folder that exists.

    Args:
        predictors: {title of the model: Predictor}.
        names: a name for each image.
        images: uint8 arrays (H0, W0, 3), of any sizes.
        top: best classes shown per image.

    Raises:
        ValueError: for predictors without a Keras model.
    """
    for title, predictor in predictors.items():
        if predictor.model is None:
            raise ValueError(
                f"{title} is a {predictor.kind}, which has no layers to analyse. Expected a run folder, a .keras "
                "file or a model's name."
            )
    columns = []
    for m, (title, predictor) in enumerate(predictors.items(), 1):
        writer = Writer(folder, f"model{m}", title)
        subject = _subject(predictor, images)
        pixels = [_about_image(writer, subject, i, top) for i in range(len(images))]
        columns.append([*pixels, _about_model(writer, subject)])
    headings = [(name, (PREDICTION, *OF_IMAGES)) for name in names] + [("The models", (FACTS, *OF_MODELS))]
    sections = [
        Section(title, tuple(Row(kind.title, kind.text, cells) for kind, cells in zip(kinds, zip(*section))))
        for (title, kinds), section in zip(headings, zip(*columns))
    ]
    page = render(f"Inside {_listed(list(predictors))}", list(predictors), sections)
    (folder / "index.html").write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class Writer:
    """Saves the figures of one model and returns their cells of the page."""

    folder: Path
    name: str  # of the model's folder
    title: str  # of the model

    def save(self, save, file, alt, **more):
        """A cell with the file that `save(path)` writes."""
        from PIL import Image

        path = self.folder / self.name / f"{file}.png"
        path.parent.mkdir(exist_ok=True)
        save(path)
        with Image.open(path) as image:
            return Cell(f"{self.name}/{file}.png", image.size, f"{alt}, {self.title}", **more)

    def draw(self, kind, file, *arguments):
        """A cell with a kind of figure, or with the reason why the model has none."""
        try:
            figure = kind.draw(*arguments)
        except ValueError as error:
            return Cell(note=f"None: {error}")
        return self.save(lambda path: figure.savefig(path, dpi=130), file, kind.title)


def _subject(predictor, images):
    prepared = [predictor.prepare(image) for image in images]
    pixels, scores = np.stack(prepared), predictor.predict_prepared(prepared)
    return Subject(predictor, pixels, predictor.inputs(pixels), scores)


def _about_image(writer, subject, i, top):
    """The cells of one image: the prediction, then each kind of figure."""
    from PIL import Image

    pixels, labels = subject.pixels[i].astype("uint8"), subject.predictor.labels
    (best,) = decode_predictions(subject.scores[i : i + 1], top, labels)
    scores = tuple((label, float(score)) for _, label, score in best)
    file = f"image{i + 1}"
    seen = writer.save(Image.fromarray(pixels).save, file, "The image as the model sees it", scores=scores, seen=True)
    return [seen, *(writer.draw(kind, f"{file}_{kind.file}", subject, i) for kind in OF_IMAGES)]


def _about_model(writer, subject):
    """The cells of a model: facts, then each kind of figure."""
    predictor, (H, W) = subject.predictor, subject.predictor.spec.size
    facts = (
        ("source", predictor.kind),
        ("parameters", f"{predictor.parameters:,}"),
        ("input", f"{H} × {W} pixels"),
        ("classes", f"{len(predictor.labels):,}"),
        ("blocks", f"{len(blocks(subject.model))}"),
    )
    return [Cell(facts=facts), *(writer.draw(kind, kind.file, subject) for kind in OF_MODELS)]


def _listed(names):
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
