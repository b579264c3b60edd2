"""The end of a run: the held-out part is read a single time, and the results and pictures are written."""

import io
import json
import math
from pathlib import Path

import numpy as np

from keras_vit import runs
from keras_vit.preprocessing import read_image
from keras_vit.training import data, logs, pictures, plan

RESULTS = (  # timm's columns, then our own
    "model",
    "img_size",
    "top1",
    "top1_err",
    "top5",
    "top5_err",
    "param_count",
    "crop_pct",
    "interpolation",
    "runtime",
    "quant",
    "n_images",
)


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
    results = measure(scores, part.labels)
    results["chosen_on_same_pictures"] = data_set.held_out_is_val
    results["bad_pictures"] = len(decided.bad) + len(prepared.bad)
    best = max(history, key=decided.recipe.rank)
    _write_pictures(decided, history, best, part, scores, results)
    _write_results(decided, model, results)
    seconds = sum(row["seconds"] for row in history)
    details = {"best_epoch": best["epoch"], "train_seconds": round(seconds, 1)}
    plan.describe(decided, {"finished": True, "held_out": results, **details})
    progress.say(report(results))
    return results


def read_results(folder):
    """The held-out results of a finished run, None of one that is not."""
    path = Path(folder) / runs.RUN
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return entries.get("held_out") if entries.get("finished") else None


def report(results):
    """One sentence for people."""
    where = "Held-out"
    if results["chosen_on_same_pictures"]:
        where = "Validation (there is no test/; these pictures also chose the checkpoint)"
    skipped = f", {results['bad_pictures']} unreadable left out" if results["bad_pictures"] else ""
    return (
        f"{where} accuracy: {results['top1']:.2f} % "
        f"({results['correct']} of {results['n_images']} pictures{skipped})"
    )


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
    """Top-1 and top-5 in percent, and how many pictures they are of."""
    own = scores[np.arange(len(labels)), labels]
    before = (scores > own[:, None]).sum(axis=1)  # classes ranked higher
    correct = int((scores.argmax(axis=1) == labels).sum())
    top1, top5 = 100 * correct / len(labels), 100 * float((before < 5).mean())
    return {"top1": top1, "top5": top5, "correct": correct, "n_images": len(labels)}


def _write_pictures(decided, history, best, part, scores, results):
    folder, data_set, name = decided.folder, decided.data_set, decided.settings["model"]
    pictures.save_curves(folder, history, best, f"{name} on {data_set.name}: {len(history)} epochs")
    mistakes = results["n_images"] - results["correct"]
    kind = "validation" if data_set.held_out_is_val else "held-out"
    pictures.save_sheet(
        folder,
        lambda index: read_image(io.BytesIO(part.read(index))),
        part.labels,
        scores.argmax(axis=1),
        data_set.classes,
        f"{name}: {results['correct']} of {results['n_images']} {kind} pictures right "
        f"({results['top1']:.2f} %); " + (f"mistakes, framed and first: {mistakes}" if mistakes else "no mistakes"),
    )


def _write_results(decided, model, results):
    row = {
        "model": decided.settings["model"],
        "img_size": decided.spec.size[0],
        "top1": round(results["top1"], 3),
        "top1_err": round(100 - results["top1"], 3),
        "top5": round(results["top5"], 3),
        "top5_err": round(100 - results["top5"], 3),
        "param_count": round(model.count_params() / 1e6, 2),
        "crop_pct": math.floor(decided.spec.crop_pct * 1000) / 1000,
        "interpolation": decided.spec.interpolation,
        "runtime": "keras",
        "quant": "none",
        "n_images": results["n_images"],
    }
    logs.write_csv(decided.folder / "results.csv", RESULTS, [row])
