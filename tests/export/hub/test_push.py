"""Pushing to a hub in this process: what goes up and what does not, once; and the model that comes back is the same."""

import json
import shutil
import socket

import numpy as np
import pytest

import keras_vit
from keras_vit.export.hub import push as module
from keras_vit.export.hub.push import push
from keras_vit.export.interchange import library_folder
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec
from keras_vit.sources import hub as references
from keras_vit.sources.run_folder import Run
from tests import hub_server
from tests import toy_artifacts as toy
from tests.export.hub.runs import SECRET, write_run
from tests.hub_server import TOKEN

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's, of its httpx2
OWN = {"README.md", "model.keras", "run.json", "preprocessing.json", "labels.txt", "results.csv"}


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hub_server.serving(monkeypatch, tmp_path / "cache", TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def put(source, repository="someone/net", **options):
    """Push without measuring, which has its own tests."""
    return push(source, repository, measure=False, **options)


def content(server, branch="main"):
    repository = server.repositories["someone/net"]
    return repository.commits[repository.refs[branch]]


def probabilities(source):
    return keras_vit.Predictor.open(source).predict(toy.random_images())


def test_a_dry_run_says_what_would_go_up_and_asks_nothing(server, run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    found = put(run, dry_run=True)
    assert set(found.files) == OWN and found.url is None and server.requests == []
    assert all(f"{path} " in str(found) and f"{size:,} bytes" in str(found) for path, size in found.files.items())
    assert found.files["model.keras"] == (run / "model.keras").stat().st_size


def test_the_run_comes_back_and_predicts_the_same(server, run):
    found = put(run, message="the first")
    repository = server.repositories["someone/net"]
    assert set(content(server)) == OWN | {".gitattributes"} and repository.messages == ["files", "the first"]
    assert {path: len(content(server)[path]) for path in OWN} == found.files and not repository.private
    assert found.url.endswith(f"/commit/{repository.refs['main']}") and found.url in str(found)
    assert content(server)["README.md"].decode() == found.card
    assert any(request.startswith("PUT /upload/") and request.endswith("/2") for request in server.requests)
    np.testing.assert_array_equal(probabilities("hf://someone/net"), probabilities(run))
    assert keras_vit.Predictor.open("hf://someone/net").labels == toy.LABELS


def test_nothing_of_this_machine_goes_up(server, run):
    put(run)
    assert not [path for path, text in content(server).items() if SECRET.encode() in text or b"/secret" in text]
    entries = json.loads(content(server)["run.json"])
    assert entries["weights"] == "start.npz" and "path" not in entries and entries["input_values"] == "normalized"
    assert entries["held_out"]["top1"] == 75.0


def test_a_repository_with_files_is_left_alone(server, run):
    server.add("someone/net", {"README.md": b"mine", ".gitattributes": b""})
    with pytest.raises(ValueError, match="someone/net has files already: README.md. With --update"):
        put(run)
    assert content(server)["README.md"] == b"mine" and not any("/upload/" in one for one in server.requests)


def test_an_update_replaces_what_push_writes_and_nothing_else(server, run):
    old = {
        "transformers/model.safetensors": b"old",
        "config.json": b"old",
        "model.keras": b"old",
        "notes/a.md": b"mine",
    }
    first = server.add("someone/net", old | {".gitattributes": b"x"}).refs["main"]
    found = put(run, update=True)
    assert set(content(server)) == OWN | {".gitattributes", "notes/a.md"} and content(server)["notes/a.md"] == b"mine"
    assert found.removed == ("config.json", "transformers/model.safetensors") and "config.json" in str(found)
    assert len(server.repositories["someone/net"].commits) == 2 and first in server.repositories["someone/net"].commits


def test_private_repositories_and_branches(server, run):
    put(run, private=True, revision="v2/try")
    assert server.repositories["someone/net"].private
    assert set(content(server)) == {".gitattributes"} and OWN < set(content(server, "v2/try"))
    assert "hf://someone/net@v2/try" in content(server, "v2/try")["README.md"].decode()
    np.testing.assert_array_equal(probabilities("hf://someone/net@v2/try"), probabilities(run))


def test_a_public_repository_is_not_taken_for_a_private_one(server, run):
    server.add("someone/net", {})
    with pytest.raises(ValueError, match="someone/net is public, and --private"):
        put(run, private=True)


def test_a_keras_file_becomes_a_run(server, run, tmp_path):
    for name in ("preprocessing.json", "labels.txt"):
        shutil.copy(run / name, tmp_path / name)
    shutil.copy(run / "model.keras", tmp_path / "best one.keras")
    put(tmp_path / "best one.keras", input_values="normalized")
    assert OWN - {"results.csv"} < set(content(server)) and "results.csv" not in content(server)
    assert json.loads(content(server)["run.json"])["name"] == "best_one"
    np.testing.assert_array_equal(probabilities("hf://someone/net"), probabilities(run))


def test_results_of_other_weights_do_not_go_up(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "results.csv").write_text((copy / "results.csv").read_text()[:-10] + "0" * 9 + "\n")
    assert set(put(copy, dry_run=True).files) == OWN - {"results.csv"}


def test_forms_of_other_libraries_lie_where_these_look_for_them(server, run, monkeypatch):
    def write(source, library, folder):
        folder.mkdir()
        for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
            (folder / name).write_text(library)

    monkeypatch.setattr(library_folder, "write", write)
    put(run)
    found = content(server)
    assert found["config.json"] == found["model.safetensors"] == b"timm" and "preprocessor_config.json" not in found
    assert found["transformers/config.json"] == found["transformers/preprocessor_config.json"] == b"transformers"
    card = found["README.md"].decode()
    assert 'timm.create_model("hf-hub:someone/net"' in card and '"subfolder": "transformers"' in card
    assert {path.name for path in references.folder("hf://someone/net").iterdir()} == OWN - {"README.md"}
    assert references.folder("hf://someone/net/transformers").name == "transformers"


def test_of_a_family_that_they_have_all_three_open_from_the_hub(server, tmp_path, capsys):
    variant = Variant("Tiny", vit.VIT, vit.Config(12, 1, 2, 8))
    variant(weights=None, input_shape=(16, 16, 3), classes=3).save(tmp_path / "model.keras")
    spec = Spec((16, 16), toy.SPEC.mean, toy.SPEC.std)
    Run.write_description(tmp_path, name="tiny", model_name="Tiny", labels=toy.LABELS, spec=spec)
    assert put(tmp_path).without == {}
    expected = probabilities(tmp_path)
    for place in ("hf://someone/net", "hf://someone/net/transformers"):
        np.testing.assert_allclose(probabilities(place), expected, atol=1e-6)
        assert keras_vit.Predictor.open(place).labels == toy.LABELS
    own = content(server)["model.safetensors"], json.loads(content(server)["config.json"])
    assert len(own[0]) > 1000 and "architecture" in own[1] and tuple(own[1]["label_names"]) == toy.LABELS


# -------------------------------------------------------------------------------------------- refusals


def test_without_a_token_nothing_is_begun(server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(module, "open_source", None)  # the model is not even loaded
    monkeypatch.setattr(module.resolve, "resolve", lambda *_: None)
    with pytest.raises(ValueError, match="no token of the hub.*settings/tokens.*hf auth login.*HF_TOKEN.*--dry-run"):
        push("runs/photos", "someone/net")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        push("runs/photos", "someone/net")
    assert server.requests == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_token_that_may_not_write(server, run, exists):
    if exists:
        server.add("other/net", {})
    with pytest.raises(ValueError, match="may not write to other/net.*403.*settings/tokens"):
        put(run, "other/net")


def test_a_commit_of_someone_else_in_between(server, run, monkeypatch):
    commit = hub_server.Handler.commit

    def late(handler, name, revision):
        server.repositories[name].commit("main", {"theirs": b""})
        return commit(handler, name, revision)

    monkeypatch.setattr(hub_server.Handler, "commit", late)
    with pytest.raises(ValueError, match="has changed meanwhile.*412.*nothing was committed"):
        put(run)
    assert content(server) == {"theirs": b""}


def test_no_network(server, run, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:  # nothing listens there afterwards
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(ConnectionError, match="someone/net broke off.*nothing was committed.*push again"):
        put(run)


@pytest.mark.parametrize("name", ["net", "a/b/c", "hf://a/b", "a/../b", "datasets/a", "a/b@c"])
def test_names_that_are_no_repository(name):
    with pytest.raises(ValueError, match="owner/name"):
        push("runs/photos", name)


def test_sources_that_are_no_runs(tmp_path):
    with pytest.raises(ValueError, match="Expected a run folder.*or a .keras file"):
        push("SwinT", "someone/net", dry_run=True)
