"""Object stores by URL: what they hold, what is tried again, and how errors name what helps."""

import hashlib
import itertools

import pytest

from keras_vit.system import remote
from tests.stores import breaking, empty_store


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """A store in memory with a few objects; pauses are not waited for."""
    monkeypatch.setattr(remote, "PAUSE", 0)
    files = empty_store()
    for name in ("a/1.jpg", "a/.hidden.jpg", "a/deep/2.jpg", "ab/3.png", "list.csv"):
        files.pipe_file(f"/bucket/{name}", name.encode())
    yield files
    empty_store()


@pytest.mark.parametrize("path", ["s3://b/x", "hf://datasets/a/b", "memory://x", "GS://b"])
def test_urls_are_remote(path):
    assert remote.is_remote(path)


@pytest.mark.parametrize("path", ["photos", "/s3:/b", "c:/photos", "c://photos", "./s3", "tfds/x"])
def test_paths_are_not(path):
    assert not remote.is_remote(path)


def test_a_folder_has_its_entries_and_no_others():
    found = {entry.name: (entry.path, entry.is_dir(), entry.is_file()) for entry in remote.scan("memory://bucket/a/")}
    assert found == {
        "1.jpg": ("memory://bucket/a/1.jpg", False, True),
        ".hidden.jpg": ("memory://bucket/a/.hidden.jpg", False, True),
        "deep": ("memory://bucket/a/deep", True, False),
    }
    assert remote.is_folder("memory://bucket/a") and not remote.is_folder("memory://bucket/a/1.jpg")
    assert not remote.is_folder("memory://bucket/nowhere")
    assert list(remote.objects("memory://bucket/a")) == [".hidden.jpg", "1.jpg", "deep/2.jpg"]


def test_globs_pass_over_hidden_names_as_on_a_disk():
    assert list(remote.matches("memory://bucket/a/*")) == ["memory://bucket/a/1.jpg", "memory://bucket/a/deep"]
    assert list(remote.matches("memory://bucket/*/*.jpg")) == ["memory://bucket/a/1.jpg"]
    assert remote.matches("memory://bucket/a/.*") == {"memory://bucket/a/.hidden.jpg": False}


def test_objects_are_read_whole_and_in_part(tmp_path, monkeypatch):
    content = bytes(range(256)) * 10
    remote.write("memory://bucket/x", content)
    assert remote.read("memory://bucket/x") == content
    assert remote.read("memory://bucket/x", 300, 7) == content[300:307]
    assert remote.facts("memory://bucket/x").size == 2560 and remote.facts("memory://bucket/a") is None
    monkeypatch.setattr(remote, "PIECE", 1000)
    assert remote.sha256("memory://bucket/x") == hashlib.sha256(content).hexdigest()
    remote.download("memory://bucket/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content
    with pytest.raises(ValueError, match=r"memory://bucket/x ends at byte 2,560; expected 2,600 or more"):
        remote.read("memory://bucket/x", 2500, 100)
    remote.upload(tmp_path / "x", "memory://bucket/y")
    assert remote.read("memory://bucket/y") == content
    for _ in range(2):
        remote.remove("memory://bucket/y")
    assert remote.facts("memory://bucket/y") is None


def test_what_may_succeed_later_is_tried_again(monkeypatch):
    calls = breaking(monkeypatch, "cat_file", [ConnectionResetError("reset"), TimeoutError(), OSError("slow down")])
    assert remote.read("memory://bucket/list.csv") == b"list.csv" and len(calls) == 4


def test_a_stream_that_stays_broken_is_named_with_how_far_it_came(tmp_path, monkeypatch):
    remote.write("memory://bucket/x", bytes(2500))
    monkeypatch.setattr(remote, "PIECE", 1000)
    errors = itertools.chain([None, None], itertools.repeat(ConnectionResetError("reset by peer")))
    calls = breaking(monkeypatch, "cat_file", errors)
    message = r"bucket/x could not be reached: tried 5 times.*reset by peer.*2,000 of 2,500 bytes had come"
    with pytest.raises(remote.UnreachableError, match=message):
        remote.download("memory://bucket/x", tmp_path / "x")
    assert len(calls) == 2 + 5


def test_trying_ends_by_the_clock_too(monkeypatch):
    monkeypatch.setattr(remote, "LONGEST", -1)
    calls = breaking(monkeypatch, "cat_file", itertools.repeat(TimeoutError("no answer")))
    with pytest.raises(remote.UnreachableError, match="tried 1 times"):
        remote.read("memory://bucket/x")
    assert len(calls) == 1


class NoCredentialsError(Exception):
    """As botocore's."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError("x"), FileNotFoundError, "memory://bucket/x: there is no such object"),
        (FileNotFoundError("The specified bucket does not exist"), FileNotFoundError, "no bucket memory://bucket. "),
        (PermissionError("Access Denied"), remote.RefusedError, "memory://bucket/x is refused .*Access Denied"),
        (NoCredentialsError("Unable to locate"), remote.RefusedError, "is refused .*Unable to locate"),
        (ValueError("no account"), ValueError, "memory://bucket/x cannot be opened .*no account"),
        (TypeError("a defect"), TypeError, "a defect"),
    ],
)
def test_what_asking_again_does_not_help_is_an_error_at_once(monkeypatch, error, kind, message):
    calls = breaking(monkeypatch, "cat_file", itertools.repeat(error))
    with pytest.raises(kind, match=message):
        remote.read("memory://bucket/x")
    assert len(calls) == 1


def test_a_scheme_names_its_package_and_its_credentials(monkeypatch):
    import fsspec

    def missing(scheme, **_):
        raise ImportError(f"Install {scheme}")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(
        ImportError, match=r"s3a://b/x needs the package s3fs. Run: pip install 'keras-vit-models\[cloud\]'"
    ):
        remote.read("s3a://b/x")
    with pytest.raises(ImportError, match="gs://b/x needs the package gcsfs. Run: pip install gcsfs"):
        remote.read("gs://b/x")
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match="nosuch://x cannot be opened .*Expected s3://, gs://, az://, hf:// or another"
    ):
        remote.read("nosuch://x")


def test_a_refusal_names_the_credentials_of_its_scheme(monkeypatch):
    import fsspec

    def refused(scheme, **_):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(fsspec, "filesystem", refused)
    for url, name in (("s3://b/x", "AWS_ACCESS_KEY_ID"), ("abfs://b/x", "AZURE_STORAGE"), ("hf://a/b", "HF_TOKEN")):
        with pytest.raises(PermissionError, match=f"{url} is refused.*{name}"):
            remote.read(url)
