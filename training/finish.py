"""The end of a run: the best weights are evaluated once on the test split, and results and figures are written."""

import io
from pathlib import Path

import numpy as np

from keras_vit.evaluation import metrics, results
from keras_vit.prediction.predictor import run_predictor
from keras_vit.preprocessing import read_image
from keras_vit.sources import run_folder
from keras_vit.training.pipeline.batches import evaluation_batches, prepare
from keras_vit.training.plan import describe, write_test_images
from keras_vit.training.run import figures, logs


def finish(plan, history, progress):
    """Evaluate model.keras on the test split; write run.json, results.csv, curves.png, held_out.png.

    Returns:
        The results as run.json has them: top1 and top5 in percent, correct, n_images, bad_pictures.
    """
    folder, data_set = plan.folder, plan.data_set
    model = run_folder.load_keras_model(folder / run_folder.MODEL)
    prepared = prepare(
        plan.test,
        plan.spec,
        max_bad_fraction=plan.recipe.max_bad_fraction,
        cache_bytes=plan.recipe.cache_megabytes * 2**20,
    )
    scores, decoded = predict(model, prepared, plan.eval_batch_size // plan.strategy.num_replicas_in_sync)
    if prepared.bad:
        logs.write_bad_files(
            folder, [*plan.bad, *(("test", *entry) for entry in _by_the_users_names(prepared.bad, plan))]
        )
        write_test_images(folder, decoded)
    measured = measure(scores, decoded.labels)
    test_results = {
        **{"top1": measured.top1, "top5": measured.top5, "correct": measured.correct, "n_images": measured.images},
        "chosen_on_same_pictures": data_set.test_is_validation,
        "bad_pictures": len(plan.bad) + len(prepared.bad),
    }
    best = max(history, key=plan.recipe.rank)
    _write_figures(plan, history, best, decoded, scores, measured)
    results.write_result(
        folder / run_folder.RESULTS, results.result(run_predictor(run_folder.Run.open(folder), model), measured)
    )
    seconds = sum(row["seconds"] for row in history)
    details = {"best_epoch": best["epoch"], "train_seconds": round(seconds, 1)}
    describe(plan, {"finished": True, "held_out": test_results, **details})
    progress.log(report(test_results))
    return test_results


def read_results(folder):
    """The test results of a finished run; None if it is not finished.

    Raises:
        ValueError: naming run.json, if it holds something else.
    """
    path = Path(folder) / run_folder.RUN
    entries = run_folder.read_entries(path) if path.is_file() else {}
    found = entries.get("held_out") if entries.get("finished") else None
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{path} must hold the results on the test split as an object. Remove it to measure again.")
    return found


def report(test_results):
    """The accuracy in one line."""
    split = "Test"
    if test_results["chosen_on_same_pictures"]:
        split = "Validation (there is no test split; these images also selected the checkpoint)"
    skipped = f", {test_results['bad_pictures']} unreadable left out" if test_results["bad_pictures"] else ""
    counted = f"{test_results['correct']} of {test_results['n_images']} images{skipped}"
    return f"{split} accuracy: {test_results['top1']:.2f} % ({counted})"


def predict(model, prepared, batch_size):
    """Run the saved model on every image that can be decoded.

    Returns:
        Probabilities (N, K), and the `Split` of these N images.
    """
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    batches = evaluation_batches(prepared, batch_size)
    scores = np.concatenate([forward(images).numpy() for images, _, _ in batches])
    prepared.quarantine.check()
    good = prepared.quarantine.good_indices()
    return scores[good], prepared.split.take(good)


def _by_the_users_names(bad, plan):
    """(file, reason) of bad test images, where the run's copies are called what they are copies of."""
    if not plan.data_set.test.are_files:
        return bad
    originals = dict(zip(plan.test.names, plan.data_set.test.names))
    return [(originals[file], reason.replace(file, originals[file])) for file, reason in bad]


def measure(scores, labels):
    """The `metrics.Accuracy` of scores (N, K); of equal scores, the lower class number ranks first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    return metrics.accuracy_of(best == labels[:, None])


def _write_figures(plan, history, best, decoded, scores, measured):
    folder, data_set, name = plan.folder, plan.data_set, plan.settings["model"]
    figures.save_curves(folder, history, best, f"{name} on {data_set.name}: {len(history)} epochs")
    mistakes = measured.images - measured.correct
    split = "validation" if data_set.test_is_validation else "test"
    figures.save_sheet(
        folder,
        lambda index: read_image(io.BytesIO(decoded.read(index))),
        decoded.labels,
        scores.argmax(axis=1),
        data_set.classes,
        f"{name}: {measured.correct} of {measured.images} {split} images correct ({measured.top1:.2f} %); "
        + (f"mistakes, framed and first: {mistakes}" if mistakes else "no mistakes"),
    )
