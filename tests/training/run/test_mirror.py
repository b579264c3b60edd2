"""A run at a URL: what a kill at any moment leaves there is a run that goes on, or nothing yet."""

import pytest

from keras_vit.system import remote, uploads
from keras_vit.system.remote import UnreachableError
from keras_vit.training.run.mirror import Mirror, mirrored
from tests.stores import breaking, store_in_memory

URL = "memory://bucket/runs/photos"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    with store_in_memory(monkeypatch, tmp_path / "home") as files:
        yield files


def write(folder, files):
    """Write {name: text}, and remove all else."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def stored():
    return {name: remote.read(f"{URL}/{name}").decode() for name in remote.objects(URL)}


BEGUN = {"args.yaml": "a", "run.json": "unfinished", ".lock": ""}
FIRST = BEGUN | {"checkpoints/best-0000.npz": "b0", "checkpoints/step-00000002.npz": "s2 b0"}
SECOND = BEGUN | {
    **{"checkpoints/best-0001.npz": "b1", "checkpoints/step-00000004.npz": "s4 b1", "model.keras": "b1"},
    "run.json": "finished",
}


def test_the_url_has_what_the_folder_has_but_for_hidden_files():
    with mirrored(URL) as mirror:
        for files in (BEGUN, FIRST, SECOND):
            write(mirror.folder, files)
            mirror.push()
            assert stored() == {name: text for name, text in files.items() if name != ".lock"}
        folder = mirror.folder
    assert not folder.exists()
    with mirrored(URL) as mirror:
        assert mirror.folder == folder and (folder / "checkpoints/step-00000004.npz").read_text() == "s4 b1"


def test_what_did_not_change_is_not_uploaded_again(monkeypatch):
    with mirrored(URL) as mirror:
        write(mirror.folder, FIRST)
        mirror.push()
        calls = breaking(monkeypatch, "put_file", [])
        mirror.push()
        assert not calls
        write(mirror.folder, {"run.json": "other text"} | {name: FIRST[name] for name in FIRST if name != "run.json"})
        uploads_of = mirror.folder / "run.json"
        mirror.push()
        assert [str(path) for path in calls].count(str(uploads_of)) == 1


@pytest.mark.parametrize("uploaded", range(6))
def test_a_kill_at_any_object_leaves_a_run_that_goes_on(monkeypatch, uploaded):
    with mirrored(URL) as mirror:
        write(mirror.folder, FIRST)
        mirror.push()
        write(mirror.folder, SECOND)
        breaking(monkeypatch, "put_file", uploaded * [None] + [KeyboardInterrupt])
        breaking(monkeypatch, "rm_file", max(0, uploaded - 4) * [None] + [KeyboardInterrupt])
        with pytest.raises(KeyboardInterrupt):
            mirror.push()
    found = stored()
    assert found["args.yaml"] == "a"
    steps = [text for name, text in found.items() if "step-" in name]
    assert steps and all(f"checkpoints/best-000{text[-1]}.npz" in found for text in steps)  # which they name
    assert found["run.json"] == "unfinished" or "model.keras" in found


def test_a_run_that_begins_has_its_settings_before_its_checkpoints(monkeypatch):
    with mirrored(URL) as mirror:
        write(mirror.folder, FIRST)
        breaking(monkeypatch, "put_file", [None, KeyboardInterrupt])
        with pytest.raises(KeyboardInterrupt):
            mirror.push()
    assert stored() == {"args.yaml": "a"}


def test_a_store_that_does_not_answer_is_made_up_for_by_the_next_checkpoint(monkeypatch):
    said = []
    with mirrored(URL) as mirror:
        write(mirror.folder, FIRST)
        breaking(monkeypatch, "put_file", 5 * [ConnectionResetError("reset")])
        mirror.push(said.append)
        assert not stored() and "tried again with the next checkpoint" in said[0] and "reset" in said[0]
        mirror.push(said.append)
        assert len(stored()) == 4 and len(said) == 1
        breaking(monkeypatch, "put_file", 5 * [ConnectionResetError("reset")])
        write(mirror.folder, SECOND)
        with pytest.raises(UnreachableError, match="reset"):  # at the end it has to be there
            mirror.finish()
        mirror.finish()
    assert uploads.listed(URL).keys() == SECOND.keys() - {".lock"}


def test_two_processes_cannot_train_into_one_url():
    with mirrored(URL):
        with pytest.raises(ValueError, match="is being written to by another process"):
            with mirrored(f"{URL}/"):
                pass


def test_several_workers_need_a_shared_disk(tmp_path):
    Mirror(tmp_path).refuse_several(2)
    with pytest.raises(ValueError, match=f"2 workers train into a folder .* shared disk. Received: {URL}"):
        Mirror(tmp_path, URL).refuse_several(2)


def test_a_local_folder_stays_local(tmp_path):
    with mirrored(tmp_path / "run") as mirror:
        mirror.push()
        mirror.finish()
    assert mirror.folder == tmp_path / "run" and list(tmp_path.iterdir()) == []
