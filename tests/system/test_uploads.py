"""Output at a URL: whole or not at all, told by the marker, and what a kill leaves."""

import contextlib
from pathlib import Path

import pytest

from keras_vit.system import remote, uploads
from tests.stores import breaking, store_in_memory

URL = "memory://bucket/serving"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    with store_in_memory(monkeypatch, tmp_path / "home") as files:
        yield files


def add(files, new=False):
    with uploads.folder_output(URL, new) as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def read():
    """What a reader gets, {name: text}."""
    found = uploads.listed(URL)
    with uploads.scratch_folder() as folder:
        uploads.downloaded(URL, folder, found)
        return {name: (folder / name).read_text() for name in found}


FIRST = {"models.config": "one", "models/a/1/saved_model.pb": "graph 1", "models/a/1/variables/v": "weights 1"}
SECOND = FIRST | {
    "models.config": "both",
    "models/a/2/saved_model.pb": "graph 2",
    "models/a/2/variables/v": "weights 2",
}


def test_a_folder_is_added_to():
    add(FIRST)
    assert read() == FIRST
    add({"models.config": "both"} | {name: text for name, text in SECOND.items() if "/2/" in name})
    assert read() == SECOND


def test_what_counts_is_uploaded_last_and_what_did_not_change_not_at_all(monkeypatch):
    calls = breaking(monkeypatch, "put_file", [])
    written = breaking(monkeypatch, "pipe_file", [])
    add(FIRST)
    assert [path.rpartition("/")[2] for path in calls] == ["v", "models.config", "saved_model.pb"]
    assert written == [f"/bucket/serving/{uploads.MARKER}"]
    calls.clear()
    add({"models.config": "other"})
    assert [path.rpartition("/")[2] for path in calls] == ["models.config"]


@pytest.mark.parametrize("uploaded", range(4))
def test_a_kill_leaves_the_folder_as_it_was_or_says_that_it_is_mixed(monkeypatch, uploaded):
    add(FIRST)
    with monkeypatch.context() as killed:
        breaking(killed, "put_file", uploaded * [None] + [KeyboardInterrupt])
        breaking(killed, "pipe_file", [KeyboardInterrupt])
        with pytest.raises(KeyboardInterrupt):
            add(SECOND)
    if remote.read(f"{URL}/models.config") == b"one":
        assert read() == FIRST
    else:
        with pytest.raises(ValueError, match="models.config is not the file that .complete.json beside it lists"):
            read()


def test_a_file_of_the_same_size_is_told_by_its_contents():
    add(FIRST)
    remote.write(f"{URL}/models.config", b"two")
    with pytest.raises(ValueError, match="models.config is not the file"):
        read()


def test_after_an_error_nothing_is_uploaded():
    with pytest.raises(RuntimeError), uploads.folder_output(URL) as folder:
        Path(folder).mkdir()
        Path(folder, "x").write_text("half")
        raise RuntimeError
    assert remote.objects(URL) == {}


def test_a_new_folder_must_not_be_there():
    remote.write(f"{URL}/x", b"the user's")
    with pytest.raises(FileExistsError, match=f"{URL} has files already"):
        add(FIRST, new=True)
    assert list(remote.objects(URL)) == ["x"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="would lie outside of its folder"):
        uploads.downloaded(URL, tmp_path / "here", {name: (1, None)})


def test_a_file_is_uploaded_when_it_is_whole_and_what_is_kept_stays(monkeypatch):
    output = "memory://bucket/found.csv"
    with contextlib.suppress(KeyboardInterrupt), uploads.file_output(output) as local:
        Path(f"{local}.partial").mkdir()
        Path(f"{local}.partial/answers").write_text("some")
        raise KeyboardInterrupt
    assert remote.facts(output) is None
    with uploads.file_output(output) as again:
        assert again == local and Path(f"{local}.partial/answers").read_text() == "some"
        Path(local).write_text("all")
    assert remote.read(output) == b"all" and not Path(local).exists()
    with uploads.file_output(output, (1, 2)) as other:
        assert Path(other).parent != Path(local).parent
    breaking(monkeypatch, "put_file", 5 * [OSError("reset")])
    with pytest.raises(remote.UnreachableError, match="The finished file is .*found.csv: copy it to memory://"):
        with uploads.file_output(output) as local:
            Path(local).write_text("more")
    assert Path(local).read_text() == "more"


def test_local_output_is_local(tmp_path):
    with uploads.file_output(tmp_path / "x") as one, uploads.folder_output("y") as other:
        assert one == tmp_path / "x" and other == "y"
