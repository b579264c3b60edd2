"""Devices, pipes and open streams take output and stay what they are; only regular files are replaced."""

import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from keras_vit.system import special_files
from keras_vit.system.files import atomic_file

PROGRAM = """
import sys
from keras_vit.system.files import atomic_file
print("before")
with atomic_file(sys.argv[1]) as temporary:
    temporary.write_text("written\\n")
print("after")
"""


def write(path, text="written"):
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def devices():
    """Copies of /dev/full and /dev/null in a folder of the test, as root could replace the real ones."""
    return {"full": os.makedev(1, 7), "null": os.makedev(1, 3)}


@pytest.fixture
def device(tmp_path):
    def make(name):
        path = tmp_path / f"{name}.csv"
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, devices()[name])
        except PermissionError:
            path.symlink_to(f"/dev/{name}")
        return path

    return make


def test_a_full_device_is_named_and_stays_one(device, tmp_path):
    path = device("full")
    with pytest.raises(OSError, match=f"{path} could not be written: No space left on device"):
        write(path)
    assert stat.S_ISCHR(os.stat(path).st_mode) and [entry.name for entry in tmp_path.iterdir()] == ["full.csv"]


def test_a_device_takes_what_is_written(device):
    path = device("null")
    write(path, "x" * 3_000_000)
    assert stat.S_ISCHR(os.stat(path).st_mode)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_gives_its_reader_all_of_it(tmp_path, through_a_link):
    path = pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if through_a_link:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    read, text = [], "x" * 300_000
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(path, text)
    reader.join()
    assert read == [text] and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_pipe_that_nobody_reads_is_an_error_and_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(special_files, "READER_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe could not be written: nobody reads from this pipe"):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_a_reader_that_leaves_is_an_error_that_names_the_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: (tmp_path / "pipe").open("rb").close())
    reader.start()
    with pytest.raises(OSError, match="pipe could not be written: Broken pipe") as error:
        write(tmp_path / "pipe", "x" * 3_000_000)
    reader.join()
    assert not isinstance(error.value, BrokenPipeError)  # by which the command knows that its own output has no reader


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_stream_takes_it_between_what_is_printed(tmp_path, name, kind):
    path = tmp_path / "out.txt"
    with path.open("w") as file:
        out = subprocess.PIPE if kind == "pipe" else file
        done = subprocess.run([sys.executable, "-u", "-c", PROGRAM, name], stdout=out, text=True, check=True)
    assert (done.stdout or path.read_text()) == "before\nwritten\nafter\n"


def test_a_link_to_itself_a_disk_and_a_socket_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    with pytest.raises(OSError, match="loop"):
        write(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(OSError, match="socket is no file to write to"):
            write(tmp_path / "socket")
    assert os.path.islink("loop") and stat.S_ISSOCK(os.stat("socket").st_mode)


def test_a_link_to_nothing_stays_a_link_and_its_target_is_made(tmp_path):
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "real" and (tmp_path / "real").read_text() == "written"


def test_what_became_a_pipe_meanwhile_stays_one(tmp_path):
    with pytest.raises(OSError, match="has become something else"):
        with atomic_file(tmp_path / "a") as temporary:
            temporary.write_text("written")
            os.mkfifo(tmp_path / "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"] and stat.S_ISFIFO(os.stat(tmp_path / "a").st_mode)


def test_below_what_is_no_folder_nothing_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe" / "a", tmp_path / "pipe" / "b" / "a"):
        with pytest.raises(NotADirectoryError, match="pipe"):
            write(path)


@pytest.mark.parametrize(
    "path, number", [("/dev/stdout", 1), ("/dev/stderr", 2), ("/dev/fd/0", 0), ("/dev/null", None)]
)
def test_the_numbers_of_streams(path, number):
    assert special_files.stream_of(path) == number


def test_another_process_has_other_streams():
    assert special_files.stream_of(f"/proc/{os.getppid()}/fd/1") is None
