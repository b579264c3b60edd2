"""The end of a run: the best weights are evaluated once on the test split, and results and figures are written."""

import io
from pathlib import Path

import numpy as np

from keras_vit.evaluation import metrics, multilabel, results
from keras_vit.models import adapters
from keras_vit.prediction.predictor import run_predictor
from keras_vit.preprocessing import read_image
from keras_vit.sources import run_folder
from keras_vit.training import decision
from keras_vit.training.pipeline.batches import evaluation_batches, prepare
from keras_vit.training.plan import describe, write_test_images
from keras_vit.training.run import figures, logs, model_file
from keras_vit.training.step.model import build_for_saving


def finish(plan, history, progress):
    """Set what model.keras decides by, evaluate it on the test split; write run.json, results.csv and figures.

    Returns:
        The results as run.json has them: of one label per image top1 and top5 in percent, and correct; of several map,
        micro_f1 and macro_f1 in percent; n_images, bad_pictures.
    """
    folder, data_set = plan.folder, plan.data_set
    decided = _decide(plan)
    model = run_folder.load_keras_model(folder / run_folder.MODEL)
    prepared = prepare(
        plan.test,
        plan.spec,
        max_bad_fraction=plan.recipe.max_bad_fraction,
        cache_bytes=plan.recipe.cache_megabytes * 2**20,
    )
    scores, decoded = predict(model, prepared, _batch_size(plan))
    if prepared.bad:
        logs.write_bad_files(
            folder, [*plan.bad, *(("test", *entry) for entry in _by_the_users_names(prepared.bad, plan))]
        )
        write_test_images(folder, decoded)
    test_results = {
        **measure(scores, decoded.labels, decided.get("thresholds")),
        "chosen_on_same_pictures": data_set.test_is_validation,
        "bad_pictures": len(plan.bad) + len(prepared.bad),
    }
    best = max(history, key=plan.recipe.rank)
    _write_figures(plan, history, best, decoded, scores, test_results, decided.get("thresholds"))
    details = {"best_epoch": best["epoch"], "train_seconds": round(sum(row["seconds"] for row in history), 1)}
    describe(plan, {"finished": True, "held_out": test_results, **details, **decided})
    if not data_set.multi_label:
        counted = metrics.accuracy_of(ranks(scores, decoded.labels))
        predictor = run_predictor(run_folder.Run.open(folder), model)
        results.write_result(folder / run_folder.RESULTS, results.result(predictor, counted))
    progress.log(report(test_results))
    return test_results


def _decide(plan):
    """What the model decides by, from the validation split; its temperature is then in model.keras."""
    if not decision.needed(plan.recipe, plan.data_set.multi_label):
        return {}
    path, classes = plan.folder / run_folder.MODEL, len(plan.data_set.classes)
    model = run_folder.load_keras_model(path)
    logits = build_for_saving(plan.recipe, classes, plan.spec, activation=None)
    logits.set_weights(model.get_weights())
    scores, decoded = predict(logits, plan.validation, _batch_size(plan))
    decided = decision.decide(plan.recipe, scores, decoded.labels)
    if "temperature" in decided:
        decision.divide_logits(model, decided["temperature"])
        model_file.write(model, path)
        if plan.recipe.lora_rank is not None:
            adapters.replace_head(plan.folder / adapters.ADAPTER, model)
    return decided


def _batch_size(plan):
    return plan.eval_batch_size // plan.strategy.num_replicas_in_sync


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
    if "map" in test_results:
        measured = f"micro F1 {test_results['micro_f1']:.2f} %, macro F1 {test_results['macro_f1']:.2f} %"
        return f"{split} mAP: {test_results['map']:.2f} % ({measured}, {test_results['n_images']} images{skipped})"
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


def measure(scores, labels, thresholds=None):
    """The results of scores (N, K); of equal scores, the lower class number ranks first.

    Args:
        labels: (N,), or of several labels per image (N, K).
        thresholds: (K,), of several labels.
    """
    if labels.ndim == 1:
        counted = metrics.accuracy_of(ranks(scores, labels))
        return {"top1": counted.top1, "top5": counted.top5, "correct": counted.correct, "n_images": counted.images}
    tallies = multilabel.tally_several(scores, labels, thresholds)
    return {
        "map": 100 * multilabel.mean_average_precision(scores, labels),
        "micro_f1": 100 * tallies.micro_f1,
        "macro_f1": 100 * tallies.macro_f1,
        "n_images": len(labels),
    }


def ranks(scores, labels):
    """Whether the first, the second, ... of the five best classes of each image is right, bool (N, 5)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :5] == labels[:, None]


def _write_figures(plan, history, best, decoded, scores, found, thresholds):
    folder, data_set, name = plan.folder, plan.data_set, plan.settings["model"]
    figures.save_curves(folder, history, best, f"{name} on {data_set.name}: {len(history)} epochs")
    split = "validation" if data_set.test_is_validation else "test"
    if data_set.multi_label:
        labels, predictions = decoded.labels > 0, scores >= np.float32(thresholds)
        right = int((labels == predictions).all(1).sum())
        measured = f"mAP {found['map']:.2f} % of {found['n_images']} {split} images, {right} with exactly their labels"
    else:
        labels, predictions, right = decoded.labels, scores.argmax(axis=1), found["correct"]
        measured = f"{right} of {found['n_images']} {split} images correct ({found['top1']:.2f} %)"
    mistakes = found["n_images"] - right
    figures.save_sheet(
        folder,
        lambda index: read_image(io.BytesIO(decoded.read(index))),
        labels,
        predictions,
        data_set.classes,
        f"{name}: {measured}; " + (f"mistakes, framed and first: {mistakes}" if mistakes else "no mistakes"),
    )
