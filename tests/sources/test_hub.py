"""References of the hub, against a hub in this process: what is asked for, downloaded and kept, and what it refuses."""

import json
import logging
import socket

import pytest

from keras_vit.sources import hub
from tests import hub_server
from tests.hub_server import TOKEN

RUN = {name: name.encode() for name in ("model.keras", "run.json", "preprocessing.json", "labels.txt", "results.csv")}
LIBRARY = {"config.json": b"{}", "preprocessor_config.json": b"{}", "model.safetensors": b"weights"}


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hub_server.serving(monkeypatch, tmp_path / "cache") as server:
        yield server


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------ references


@pytest.mark.parametrize(
    "text, expected",
    [
        ("hf://owner/name", ("owner/name", "", None)),
        ("hf://Owner-1/a.b_c@v1.0", ("Owner-1/a.b_c", "", "v1.0")),
        ("hf://owner/name@refs/pr/3", ("owner/name", "", "refs/pr/3")),
        ("hf://owner/name/transformers@main", ("owner/name", "transformers", "main")),
        ("hf://owner/name/deep/er/x.keras", ("owner/name", "deep/er/x.keras", None)),
    ],
)
def test_a_reference_names_repository_folder_and_revision(text, expected):
    found = hub.parse(text)
    assert (found.repository, found.inside, found.revision) == expected and str(found) == text


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://name", "hf://a/b@", "hf://a/b/", "hf://a/b/../c", "hf://a/b/./c", "hf://a//b", "hf://../b"]
    + ["hf://datasets/a/b", "hf://a/b@x y", "hf://a/b@../../x", "hf://a/b/c\\d", "hf://a--b/c", "hf://a/b@x\n", "a/b"],
)
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match="hf://owner/name or hf://owner/name@revision.*Received"):
        hub.parse(text)


def test_what_is_no_reference():
    assert hub.is_reference("hf://whatever") and not any(map(hub.is_reference, ("SwinT", "hf:/a/b", None, b"hf://a/b")))


# -------------------------------------------------------------------------------------------- downloads


def test_of_a_run_only_what_it_needs_is_downloaded(server):
    others = {"README.md": b"", "transformers/model.safetensors": b"x", "checkpoints/1.npz": b"x", **LIBRARY}
    server.add("someone/net", RUN | others)
    assert files_in(hub.folder("hf://someone/net")) == sorted(RUN)


def test_of_another_librarys_folder_one_file_of_weights_is_downloaded(server):
    others = {"pytorch_model.bin": b"x", "tf_model.h5": b"x", "flax_model.msgpack": b"x", "README.md": b""}
    server.add("someone/net", LIBRARY | others)
    folder = hub.folder("hf://someone/net")
    assert files_in(folder) == sorted(LIBRARY) and (folder / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("first, second", [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_the_order_of_weights(first, second):
    names = {hub.LIBRARY_WEIGHTS[first], hub.LIBRARY_WEIGHTS[second], "config.json"}
    assert hub.needed(names, hub.parse("hf://a/b")) == [hub.LIBRARY_WEIGHTS[first], "config.json"]


def test_shards_are_downloaded_with_their_index(server):
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "../../x", "d": "lost.safetensors"}}
    shards = {"one.safetensors": b"1", "two.safetensors": b"2"}
    rest = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), "three.safetensors": b"3"}
    server.add("someone/net", {f"deep/{name}": content for name, content in (shards | rest).items()})
    folder = hub.folder("hf://someone/net/deep")
    assert files_in(folder) == ["config.json", "model.safetensors.index.json", *shards]


@pytest.mark.parametrize("content", [b"[", b"[]", b'{"weight_map": 3}', b"[" * 10_000])
def test_a_damaged_index_is_named(server, content):
    server.add("someone/net", {"config.json": b"{}", "model.safetensors.index.json": content})
    with pytest.raises(ValueError, match="model.safetensors.index.json"):
        hub.folder("hf://someone/net")


def test_a_folder_of_a_repository(server):
    server.add("someone/net", RUN | {f"transformers/{name}": content for name, content in LIBRARY.items()})
    folder = hub.folder("hf://someone/net/transformers")
    assert folder.name == "transformers" and files_in(folder) == sorted(LIBRARY)


def test_a_single_file_stands_for_its_repository(server):
    server.add("someone/net", {"net.keras": b"k", "preprocessing.json": b"{}", "labels.txt": b"a", "x.png": b""})
    path = hub.folder("hf://someone/net")
    assert path.name == "net.keras" and files_in(path.parent) == ["labels.txt", "net.keras", "preprocessing.json"]


def test_of_several_files_one_must_be_named(server):
    server.add("someone/net", {"a.keras": b"a", "b.keras": b"b"})
    with pytest.raises(ValueError, match="several models: a.keras, b.keras. Name one.*hf://someone/net/a.keras@main"):
        hub.folder("hf://someone/net@main")
    assert hub.folder("hf://someone/net/b.keras").read_bytes() == b"b"


def test_branches_tags_and_commits(server):
    repository = server.add("someone/net", RUN)
    first = repository.refs["main"]
    repository.refs["v1"] = first
    repository.commit("main", RUN | {"model.keras": b"newer"})
    repository.commit("of/mine", RUN | {"model.keras": b"mine"})
    for revision, content in {
        "main": b"newer",
        "v1": b"model.keras",
        first: b"model.keras",
        "of/mine": b"mine",
    }.items():
        assert (hub.folder(f"hf://someone/net@{revision}") / "model.keras").read_bytes() == content
    repository.commit("main", RUN | {"model.keras": b"newest"})
    assert (hub.folder("hf://someone/net") / "model.keras").read_bytes() == b"newest"


def test_files_are_downloaded_once(server):
    server.add("someone/net", RUN)
    folder = hub.folder("hf://someone/net")
    server.requests.clear()
    assert hub.folder("hf://someone/net") == folder
    assert server.requests == ["GET /api/models/someone/net"]


# ------------------------------------------------------------------------------------- without a network


def test_offline_the_cache_answers_without_a_request(server, monkeypatch):
    server.add("someone/net", RUN)
    folder = hub.folder("hf://someone/net")
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.folder("hf://someone/net") == folder
    with pytest.raises(ConnectionError, match="hf://someone/net@v2 .*HF_HUB_OFFLINE is set.*cache does not have it"):
        hub.folder("hf://someone/net@v2")
    assert server.requests == []


def test_a_hub_that_does_not_answer(server, monkeypatch, caplog):
    server.add("someone/net", RUN)
    folder = hub.folder("hf://someone/net")
    with socket.create_server(("127.0.0.1", 0)) as free:  # nothing listens there afterwards
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    with caplog.at_level(logging.WARNING, "keras_vit"):
        assert hub.folder("hf://someone/net") == folder
    assert "hf://someone/net: the hub cannot be reached" in caplog.text
    with pytest.raises(ConnectionError, match=f"hf://someone/other .*{url}.*network.*HF_ENDPOINT.*HF_HUB_OFFLINE"):
        hub.folder("hf://someone/other")


def test_a_file_of_another_sha256_is_refused_and_may_be_downloaded_again(server):
    server.add("someone/net", RUN)
    server.tampered.add("model.keras")
    with pytest.raises(ValueError, match="model.keras is not the published file: expected sha256"):
        hub.folder("hf://someone/net")
    server.tampered.clear()
    assert (hub.folder("hf://someone/net") / "model.keras").read_bytes() == b"model.keras"


def test_a_changed_file_in_the_cache_is_noticed(server, monkeypatch):
    server.add("someone/net", RUN)
    (hub.folder("hf://someone/net") / "model.keras").resolve().write_bytes(b"another one")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="model.keras is not the published file"):
        hub.folder("hf://someone/net")


# ------------------------------------------------------------------------------------ what the hub refuses


def test_a_repository_that_is_not_there_or_private(server, monkeypatch):
    server.add("someone/secret", RUN, private=True)
    for name in ("secret", "nothing"):
        with pytest.raises(
            ValueError, match=f"no such repository at {server.url}/someone/{name}.*private.*hf auth login"
        ):
            hub.folder(f"hf://someone/{name}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(hub.folder("hf://someone/secret")) == sorted(RUN)


def test_a_gated_repository_says_what_to_do(server, monkeypatch):
    server.add("someone/net", RUN, gated=True)
    with pytest.raises(ValueError, match=f"gated.*licence.*{server.url}/someone/net.*hf auth login.*HF_TOKEN"):
        hub.folder("hf://someone/net")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(hub.folder("hf://someone/net")) == sorted(RUN)


def test_a_revision_that_is_not_there(server):
    server.add("someone/net", RUN)
    with pytest.raises(ValueError, match="hf://someone/net@v9: the repository has no such branch, tag or commit"):
        hub.folder("hf://someone/net@v9")


@pytest.mark.parametrize("content", [{"README.md": b"", "model.gguf": b""}, {}, {"model.safetensors/x": b""}])
def test_a_repository_without_weights_says_what_it_has(server, content):
    server.add("someone/net", content)
    with pytest.raises(ValueError, match="has no weights that are read here.*It has: ") as caught:
        hub.folder("hf://someone/net")
    assert all(name in str(caught.value) for name in content) and not any("/resolve/" in r for r in server.requests)
