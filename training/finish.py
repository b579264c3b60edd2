"""The end of a run: the held-out part is read a single time, and the results and pictures are written."""

import io
import json
from pathlib import Path

import numpy as np

from keras_vit import runs
from keras_vit.evaluation import metrics, results
from keras_vit.predictor import run_predictor
from keras_vit.preprocessing import read_image
from keras_vit.training import data, logs, pictures, plan


def finish(decided, history, progress):
    """Measure model.keras on the held-out pictures; write run.json, results.csv, curves.png, held_out.png."""
    folder, data_set = decided.folder, decided.data_set
    model = runs.load_keras_model(folder / "model.keras")
    prepared = data.prepare(
        data_set.held_out,
        decided.spec,
        max_bad_fraction=decided.recipe.max_bad_fraction,
        cache_bytes=decided.recipe.cache_megabytes * 2**20,
    )
    scores, part = predict(model, prepared, decided.eval_batch_size // decided.strategy.num_replicas_in_sync)
    if prepared.bad:
        bad = [("held_out", *entry) for entry in prepared.bad]
        logs.write_bad_files(folder, [*decided.bad, *bad])
        plan.write_held_out(folder, part)
    measured = measure(scores, part.labels)
    held_out = {
        **{"top1": measured.top1, "top5": measured.top5, "correct": measured.correct, "n_images": measured.images},
        "chosen_on_same_pictures": data_set.held_out_is_val,
        "bad_pictures": len(decided.bad) + len(prepared.bad),
    }
    best = max(history, key=decided.recipe.rank)
    _write_pictures(decided, history, best, part, scores, measured)
    results.write_result(folder / "results.csv", results.result(run_predictor(runs.Run.open(folder), model), measured))
    seconds = sum(row["seconds"] for row in history)
    details = {"best_epoch": best["epoch"], "train_seconds": round(seconds, 1)}
    plan.describe(decided, {"finished": True, "held_out": held_out, **details})
    progress.say(report(held_out))
    return held_out


def read_results(folder):
    """The held-out results of a finished run, None of one that is not."""
    path = Path(folder) / runs.RUN
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return entries.get("held_out") if entries.get("finished") else None


def report(held_out):
    """One sentence for people."""
    where = "Held-out"
    if held_out["chosen_on_same_pictures"]:
        where = "Validation (there is no test/; these pictures also chose the checkpoint)"
    skipped = f", {held_out['bad_pictures']} unreadable left out" if held_out["bad_pictures"] else ""
    counted = f"{held_out['correct']} of {held_out['n_images']} pictures{skipped}"
    return f"{where} accuracy: {held_out['top1']:.2f} % ({counted})"


def predict(model, prepared, batch_size):
    """Probabilities (pictures, K) by the model that users get, and the part of the pictures that could be decoded."""
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    batches = data.evaluation_batches(prepared, batch_size)
    scores = np.concatenate([forward(images).numpy() for images, _, _ in batches])
    prepared.quarantine.check()
    good = prepared.quarantine.good()
    return scores[good], prepared.part.take(good)


def measure(scores, labels):
    """The `metrics.Accuracy` of scores (N, K); of equal scores, the class with the lower number goes first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    return metrics.accuracy_of(best == labels[:, None])


def _write_pictures(decided, history, best, part, scores, measured):
    folder, data_set, name = decided.folder, decided.data_set, decided.settings["model"]
    pictures.save_curves(folder, history, best, f"{name} on {data_set.name}: {len(history)} epochs")
    mistakes = measured.images - measured.correct
    kind = "validation" if data_set.held_out_is_val else "held-out"
    pictures.save_sheet(
        folder,
        lambda index: read_image(io.BytesIO(part.read(index))),
        part.labels,
        scores.argmax(axis=1),
        data_set.classes,
        f"{name}: {measured.correct} of {measured.images} {kind} pictures right ({measured.top1:.2f} %); "
        + (f"mistakes, framed and first: {mistakes}" if mistakes else "no mistakes"),
    )
