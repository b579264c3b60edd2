"""Send images to a model server, TF Serving or `keras-vit serve`. Needs Python 3.8 or later and nothing else.

python3 client.py image.jpg                       print the best classes, or the features
python3 client.py --url http://host:8501 *.jpg    of another server
python3 client.py --check                         compare its responses for the stored examples with the stored ones

Of a model with several labels per image, all that an image has are printed, or "none"; a model that can tell images of
none of its classes says "unknown". Of a model without a classifier, shapes and first numbers of its features are
printed.
"""

import argparse
import base64
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
BATCH = 8  # images in a request
LENGTHS = 0.01  # by which those of two vectors may differ, relatively
OF_LOGITS = 10  # times the tolerance of scores, which are probabilities: that of known_score, relative to it


class Failure(Exception):
    """An error, described in a sentence."""


def main(argv=None):
    """Returns 0; 1 after an error, an image that cannot be read or a response that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files: JPEG or PNG")
    parser.add_argument("--url", default="http://localhost:8501", help="the server (default: %(default)s)")
    parser.add_argument("--model", help="name of the model (default: the only one of this folder)")
    parser.add_argument("--version", type=int, help="of the model (default: the newest)")
    parser.add_argument("--label", help="of the version, instead of its number")
    parser.add_argument("--top", type=int, help="classes per image (default: 5; of several labels, all that it has)")
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds to wait for a response (default: %(default)s)"
    )
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for the server to start (default: none)")
    parser.add_argument("--check", action="store_true", help="compare the results of the stored examples")
    arguments = parser.parse_args(argv)
    if not arguments.check and not arguments.images:
        parser.error("give the path of an image, or --check")
    try:
        models = [arguments.model] if arguments.model else stored_models()
        server = Server(arguments.url, arguments.timeout)
        server.wait(models, arguments.wait)
        if arguments.check:
            return check(server, models)
        if len(models) > 1:
            raise Failure("this folder holds several models; choose one with --model: " + ", ".join(models))
        return classify(server, models[0], arguments)
    except (Failure, OSError) as error:
        print(f"client.py: {error}", file=sys.stderr)
        return 1


class Server:
    """A model server's REST interface."""

    def __init__(self, url, timeout):
        self.url, self.timeout = url.rstrip("/"), timeout

    def predict(self, model, files, at=""):
        """Send encoded images.

        Args:
            model: its name.
            files: contents of image files.
            at: "", "/versions/<number>" or "/labels/<label>".

        Returns:
            A dictionary with classes, scores and class_ids per image; decoded, known_score and unknown if the model
            has them. Of a model without a classifier, its features by name, and decoded.
        """
        instances = [{"b64": base64.b64encode(content).decode()} for content in files]
        return self._send(f"{urllib.parse.quote(model)}{at}:predict", {"instances": instances})["predictions"]

    def versions(self, model):
        """Numbers of the versions that are served."""
        states = self._send(urllib.parse.quote(model))["model_version_status"]
        return sorted(int(state["version"]) for state in states if state["state"] == "AVAILABLE")

    def wait(self, models, seconds):
        """Wait until all models are served; `Failure` if that takes longer."""
        end = time.monotonic() + seconds
        while seconds:
            try:
                if all([self.versions(model) for model in models]):
                    return
                problem = "no version is loaded yet"
            except Failure as error:
                problem = error
            if time.monotonic() > end:
                raise Failure(f"after {seconds:g} seconds: {problem}")
            time.sleep(0.5)

    def _send(self, path, body=None):
        request = urllib.request.Request(f"{self.url}/v1/models/{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise Failure(f"{self.url} answered {error.code}: {reason(error.read())}")
        except urllib.error.URLError as error:
            raise Failure(f"no server at {self.url} ({error.reason})")


def reason(content):
    """The message in the body of an error response."""
    try:
        return json.loads(content.decode())["error"]
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


def classify(server, model, arguments):
    """Print the best classes of every image, or its features."""
    at, status = "", 0
    if arguments.label or arguments.version is not None:
        at = f"/labels/{urllib.parse.quote(arguments.label)}" if arguments.label else f"/versions/{arguments.version}"
    for start in range(0, len(arguments.images), BATCH):
        paths = arguments.images[start : start + BATCH]
        for path, result in zip(paths, server.predict(model, [Path(p).read_bytes() for p in paths], at)):
            print(path)
            if not decoded(result):
                print("  cannot be read as an image")
                status = 1
                continue
            show = show_classes if "class_ids" in result else show_features
            show(result, arguments.top)
    return status


def show_classes(result, top):
    """Print the best classes."""
    if result.get("unknown"):
        print(f"  unknown: score {result['known_score']:.2f}")
    best = labels(result)[: top if top or several(result) else 5]
    width = max((len(name) for _, name, _ in best), default=0)
    for _, name, score in best:
        print(f"  {name:{width}}  {100 * score:6.2f} %")
    if not best:
        print("  none")


def show_features(result, _):
    """Print shapes and first numbers."""
    for name in sorted(set(result) - {"decoded"}):
        shape, numbers = flattened(result[name])
        print(f"  {name} ({' x '.join(map(str, shape))}): {' '.join(f'{x:.4f}' for x in numbers[:5])} ...")


def flattened(values):
    """(shape, numbers) of nested lists."""
    shape, inner = [], values
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0]
    for _ in shape[1:]:
        values = [one for row in values for one in row]
    return shape, values


def decoded(result):
    """Whether the server could read the image."""
    return result["decoded"] if "decoded" in result else result["class_ids"][0] >= 0


def several(result):
    """Whether the model gives several labels per image."""
    return "decoded" in result


def labels(result):
    """(number, name, score) of the classes, best first, without the places that are left over."""
    rows = zip(result["class_ids"], result["classes"], result["scores"])
    return [row for row in rows if row[0] >= 0]


def stored_models():
    """Names of the models of which this folder has stored results."""
    names = sorted(path.name for path in HERE.glob("expected/*") if path.is_dir())
    if not names:
        raise Failure(f"{HERE} has no expected/ folder; name the model with --model")
    return names


def check(server, models):
    """Classify the stored examples with every served version; print what differs."""
    wrong = checked = 0
    for model in models:
        for version in server.versions(model):
            path = HERE / "expected" / model / f"{version}.json"
            if not path.is_file():
                print(f"{model} version {version}: no stored results")
                continue
            expected = json.loads(path.read_text(encoding="utf-8"))
            problems = differences(server, model, version, expected)
            for problem in problems:
                print(f"{model} version {version}, {problem}")
            print(f"{model} version {version}: {len(expected['answers'])} images, {len(problems)} wrong")
            checked, wrong = checked + len(expected["answers"]), wrong + len(problems)
    if not checked:
        raise Failure(f"no version that is served has stored results in {HERE / 'expected'}")
    return 1 if wrong else 0


def differences(server, model, version, expected):
    """A sentence per example of a version whose result differs, alone or in one request with the others."""
    names = sorted(expected["answers"])
    files = [(HERE / "examples" / model / str(version) / name).read_bytes() for name in names]
    at = f"/versions/{version}"
    together = server.predict(model, files, at)
    problems = []
    for name, file, result in zip(names, files, together):
        stored = expected["answers"][name]
        alone = server.predict(model, [file], at)[0]
        if not (agree(result, stored, expected) and agree(alone, stored, expected)):
            problems.append(f"{name}: expected {brief(stored)}. Received: {brief(result)}")
    return problems


def agree(result, stored, expected):
    """Whether two results agree, as the entries of the stored file measure it."""
    if "features" in expected:
        return alike_features(result, stored, expected["features"], expected["cosine"])
    tolerance, known = expected["tolerance"], expected.get("unknown")
    if known and not alike_known(result, stored, tolerance, known["threshold"]):
        return False
    if "thresholds" not in expected:
        return alike(result, stored, tolerance)
    return alike_several(result, stored, tolerance, expected["thresholds"])


def alike_features(result, stored, names, least):
    """Whether two results have the same features: of the same shapes, and of a cosine of at least `least`."""
    if set(result) != {*names, "decoded"} or result["decoded"] != stored["decoded"]:
        return False
    for name in names:
        shape, numbers = flattened(result[name])
        kept = stored[name]
        if shape != kept["shape"] or not alike_numbers(numbers[:: kept["every"]], kept["numbers"], least):
            return False
    return True


def alike_numbers(ours, theirs, least):
    """Whether two vectors have that cosine, and lengths as near; zeros are like zeros only."""
    one, other = (math.sqrt(sum(x * x for x in numbers)) for numbers in (ours, theirs))
    if not one or not other:
        return one == other
    cosine = sum(x * y for x, y in zip(ours, theirs)) / (one * other)
    return cosine >= least and abs(one / other - 1) <= LENGTHS


def alike_known(result, stored, tolerance, threshold):
    """Whether the scores of known images agree, and what they say, unless the score is at its threshold."""
    score, near = stored["known_score"], OF_LOGITS * tolerance * max(1, abs(stored["known_score"]))
    if abs(result["known_score"] - score) > near:
        return False
    return result["unknown"] == stored["unknown"] or decoded(stored) and abs(score - threshold) <= near


def alike_several(result, stored, tolerance, thresholds):
    """Whether two results have the same labels; one may lack those whose scores are within the tolerance of the limit.

    The limit is the class's threshold, or the last score where all places are taken.
    """
    if len(result["scores"]) != len(stored["scores"]) or decoded(result) != decoded(stored):
        return False
    ours, theirs = ({number: (name, score) for number, name, score in labels(one)} for one in (result, stored))
    last = min(one["scores"][-1] for one in (result, stored))
    for number in {*ours, *theirs}:
        if number in ours and number in theirs:
            (name, score), (other, expected) = ours[number], theirs[number]
            good = name == other and abs(score - expected) <= tolerance
        else:
            _, score = ours.get(number) or theirs[number]
            good = score - max(thresholds[number], last) <= tolerance
        if not good:
            return False
    return True


def alike(result, stored, tolerance):
    """Whether two results agree; classes whose scores are within the tolerance may change places."""
    scores = dict(zip(stored["class_ids"], stored["scores"]))
    names = dict(zip(stored["class_ids"], stored["classes"]))
    least = stored["scores"][-1]  # upper bound of the scores that are not stored
    return len(result["scores"]) == len(stored["scores"]) and all(
        abs(scores.get(number, least) - score) <= tolerance and names.get(number, name) == name
        for number, name, score in zip(result["class_ids"], result["classes"], result["scores"])
    )


def brief(result):
    """The best class of a result, or all of several labels, or the features' first numbers."""
    if "class_ids" not in result:
        kept = {name: value for name, value in result.items() if name != "decoded"}
        numbers = {name: x["numbers"] if isinstance(x, dict) else flattened(x)[1] for name, x in kept.items()}
        return ", ".join(f"{name} {' '.join(f'{x:.4f}' for x in numbers[name][:3])} ..." for name in sorted(numbers))
    if several(result):
        return ", ".join(f"{name} ({score:.4f})" for _, name, score in labels(result)) or "no class"
    return f"{result['classes'][0] or 'no class'} ({result['scores'][0]:.4f})"


if __name__ == "__main__":
    sys.exit(main())
