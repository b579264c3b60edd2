"""Pushing a model to the hub: what goes up is put together, shown, and committed at once.

    from keras_vit.export.hub.push import push

    print(push("runs/photos", "me/photos", dry_run=True))
    push("runs/photos", "me/photos", licence="apache-2.0")

model.keras run.json preprocessing.json labels.txt results.csv    the run; hf://owner/name opens it
README.md                                                         the model card
config.json model.safetensors                                     the same model for timm, where timm has its family
transformers/                                                     for transformers, likewise

Nothing else goes up: no images, checkpoints, logs or settings with paths of this machine.
"""

import contextlib
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from keras_vit.evaluation.results import read_results
from keras_vit.export.hub.card import LIBRARIES, card
from keras_vit.export.hub.facts import gather
from keras_vit.export.interchange import library_folder
from keras_vit.export.model.source import open_source
from keras_vit.sources import hub, resolve
from keras_vit.sources.run_folder import LABELS, MODEL, RESULTS, RUN, SPEC, Run
from keras_vit.system.files import scratch_folder
from keras_vit.weights import download

CARD = "README.md"
ATTRIBUTES = ".gitattributes"  # the hub's own, of every repository
ROOT = (MODEL, RUN, SPEC, LABELS, RESULTS, CARD, hub.CONFIG, "model.safetensors")  # all that may lie in the root
FOLDER = "transformers"
TOKENS = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True)
class Pushed:
    """What goes up, or went up; `print` shows it."""

    repository: str  # owner/name
    files: dict  # {path in the repository: bytes}
    card: str  # the text of README.md
    without: dict  # {library: why it is not there in its form}
    warnings: tuple = ()
    removed: tuple = ()  # paths of an earlier push that are no more
    url: str | None = None  # of the commit; None if nothing was uploaded

    def __str__(self):
        width = max(map(len, self.files))
        lines = [f"  {path:{width}}  {size:>14,} bytes" for path, size in self.files.items()]
        lines += [f"  {path:{width}}  is removed" for path in self.removed]
        lines.append(f"  {len(self.files)} files, {sum(self.files.values()):,} bytes")
        lines += [f"  not for {library}: {reason}" for library, reason in self.without.items()]
        return "\n".join([self.url or f"{hub.PREFIX}{self.repository}", *lines])


def push(
    source,
    repository,
    *,
    preprocessing=None,
    labels=None,
    input_values=None,
    revision=None,
    private=False,
    message=None,
    licence=None,
    evaluation=None,
    measure=True,
    update=False,
    dry_run=False,
):
    """Upload a run or a `.keras` file as a repository of the hub, in one commit.

    Args:
        source: a run folder or a `.keras` file.
        repository: "owner/name"; made if it does not exist.
        preprocessing, labels, input_values: for a `.keras` file, as `keras-vit export` takes them.
        revision: branch to commit to; made if it does not exist. None for the main one.
        private: whether a new repository is private.
        message: of the commit.
        licence: the hub's name of the model's licence, e.g. "apache-2.0", for the card.
        evaluation: folder that `keras-vit validate --output` wrote for this model, for the card.
        measure: without `evaluation`: whether to measure accuracy and calibration on the run's test images, if these
            are all there.
        update: whether files of the repository may be replaced.
        dry_run: only say what would go up; nothing is asked of the hub.

    Returns:
        What went up, `Pushed`.

    Raises:
        ValueError: for a source of another kind, without a token or a right to write, for a repository that has files
            if `update` is false, or is public if `private` is asked for.
        ConnectionError: if the hub cannot be reached, or breaks off; then nothing is committed.
    """
    if not hub.is_repository(repository):
        raise ValueError(f"A repository of the hub is owner/name. Received: {str(repository)[:200]!r}.")
    found = resolve.resolve(source, ("run", "keras"))
    if not dry_run:
        _require_token()
    opened = open_source(source, preprocessing, labels, input_values)
    run = found.path if found.kind == "run" else None
    facts = gather(opened, run, evaluation, measure)
    with scratch_folder() as folder:
        without = _write_libraries(opened, folder)
        text = card(facts, repository, revision, licence, without)
        files = _write(facts, opened.weights, run, text, folder)
        sizes = {path: file.stat().st_size for path, file in files.items()}
        pushed = Pushed(repository, sizes, text, without, facts.warnings)
        if dry_run:
            return pushed
        with _explained(repository):
            removed, url = _upload(
                files, repository, revision, private, message or f"{facts.name} by keras_vit", update
            )
    return dataclasses.replace(pushed, removed=removed, url=url)


def _write_libraries(source, folder):
    """Write the model as other libraries have it, into folders of their names; {library: why it has no such model}."""
    without = {}
    for library in LIBRARIES:
        try:
            library_folder.write(source, library, folder / library)
        except ValueError as error:
            without[library] = str(error)
            shutil.rmtree(folder / library, ignore_errors=True)
    return without


def _write(facts, model, run, text, folder):
    """Write the files of the repository; {path in it: file}, in the order in which they are shown."""
    root = folder / "root"
    details = {**facts.run, "input_values": facts.input_values}
    Run.write_description(
        root, name=facts.name, model_name=facts.model, labels=facts.labels, spec=facts.spec, details=details
    )
    (root / CARD).write_text(text, encoding="utf-8")
    files = {CARD: root / CARD, MODEL: Path(model), **{name: root / name for name in (RUN, SPEC, LABELS)}}
    if run is not None and _has_results(run / RESULTS, model):
        files[RESULTS] = run / RESULTS
    for name in (hub.CONFIG, hub.LIBRARY_WEIGHTS[0]):
        if (folder / "timm" / name).is_file():
            files[name] = folder / "timm" / name
    for path in sorted((folder / FOLDER).rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path
    return files


def _has_results(path, model):
    """Whether a file of results is of this model alone."""
    rows = read_results(path)
    return bool(rows) and {row["weights_sha256"] for row in rows} == {download.sha256(model)}


# ------------------------------------------------------------------------------------------ the upload


def _require_token():
    from huggingface_hub import get_token

    if download.is_offline():
        raise ValueError("HF_HUB_OFFLINE is set: nothing can be pushed. Unset it; --dry-run shows what would go up.")
    if not get_token():
        raise ValueError(
            f"There is no token of the hub. Make one that may write at {TOKENS}, then sign in with `hf auth login`, or "
            "put it into HF_TOKEN. --dry-run shows what would go up without one."
        )


def _upload(files, repository, revision, private, message, update):
    """Commit the files; returns (paths that were removed, URL of the commit)."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(endpoint=download.endpoint(), library_name="keras_vit")
    info = _opened(api, repository, revision, private)
    there = {file.rfilename for file in info.siblings or ()} - {ATTRIBUTES}
    if there and not update:
        names = sorted(there)
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise ValueError(
            f"{repository} has files already: {', '.join(names[:8])}{more}. With --update, those that `keras-vit push` "
            "writes are replaced in a new commit, the card too; what was there stays in the history."
        )
    stale = sorted(path for path in there - set(files) if path in ROOT or path.startswith(f"{FOLDER}/"))
    added = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(file)) for path, file in files.items()]
    operations = [*added, *(CommitOperationDelete(path_in_repo=path) for path in stale)]
    done = api.create_commit(repository, operations, commit_message=message, revision=revision, parent_commit=info.sha)
    return tuple(stale), done.commit_url


def _opened(api, repository, revision, private):
    """What the hub says of the repository's branch, both made where they are missing."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = api.model_info(repository)
    except RepositoryNotFoundError:
        api.create_repo(repository, private=private)
        info = api.model_info(repository)
    if private and not info.private:
        raise ValueError(
            f"{repository} is public, and --private was asked for. Change it in its settings first, or leave out "
            "--private."
        )
    if revision is None:
        return info
    try:
        return api.model_info(repository, revision=revision)
    except RevisionNotFoundError:
        api.create_branch(repository, branch=revision)
        return api.model_info(repository, revision=revision)


@contextlib.contextmanager
def _explained(repository):
    """Inside, errors of `huggingface_hub` become those that say what to do."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403, 404):
            raise ValueError(
                f"The token may not write to {repository} ({status}). Check the owner's name; or make a token that may "
                f"write there at {TOKENS}, then sign in with `hf auth login`, or put it into HF_TOKEN."
            ) from error
        if status in (409, 412):
            raise ValueError(
                f"{repository} has changed meanwhile, or cannot be changed ({status}); nothing was committed. Look at "
                "it, and push again."
            ) from error
        if status == 400:
            raise ValueError(f"{repository}: the hub refuses this: {hub.first_line(error)}") from error
        raise _broken_off(repository, error) from error
    except (OSError, RuntimeError, download.http_error()) as error:
        raise _broken_off(repository, error) from error


def _broken_off(repository, error):
    reason = hub.first_line(error.__cause__ or error)
    return ConnectionError(
        f"Pushing to {repository} broke off ({reason}); nothing was committed. Check the network, and push again: what "
        "was uploaded already is not sent a second time."
    )
