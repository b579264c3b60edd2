"""A file or folder is complete or absent: after errors, full disks and kills alike."""

import os
import resource
import signal
import subprocess
import sys
import tempfile

import pytest

from keras_vit.system.files import atomic_file, atomic_folder, held, refuse_pattern, scratch_folder, temporaries_in


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_at_the_end_only(tmp_path):
    with atomic_file(tmp_path / "a.csv") as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path and temporary.suffix == ".csv"
        assert temporary.name.startswith(".")
        assert not (tmp_path / "a.csv").exists()
    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "whole"


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_old_file_survives_an_error(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(type(error)):
        with atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise error
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_made_parents_go_again_on_an_error_and_stay_on_success(tmp_path):
    with pytest.raises(OSError):
        with atomic_file(tmp_path / "x" / "y" / "a.txt"):
            raise OSError
    assert names(tmp_path) == []
    with atomic_file(tmp_path / "x" / "y" / "a.txt") as temporary:
        temporary.write_text("")
    assert (tmp_path / "x" / "y" / "a.txt").exists()


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.txt"):
        with atomic_file(tmp_path / "a.txt"):
            pass


def test_a_folder_in_the_place_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError, match="file"):
        with atomic_file(tmp_path):
            pass


def test_link_keeps_pointing_to_the_replaced_file(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with atomic_file(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_full_disk_raises_and_leaves_nothing(tmp_path):
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError):
            with atomic_file(tmp_path / "big.bin") as temporary:
                temporary.write_bytes(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == []


def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'a.csv'}'"):
        with atomic_file(tmp_path / "a.csv"), open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")


def killed_while_writing(writer, path):
    """A process that is killed (SIGKILL) in the middle of writing `path`."""
    code = (
        "import os, signal, sys; from keras_vit.system.files import *\n"
        f"with {writer}(sys.argv[1]) as temporary:\n"
        "    (temporary / 'part' if temporary.is_dir() else temporary).write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_kill_leaves_no_target_and_the_next_write_clears_up(tmp_path):
    path = tmp_path / "a.txt"
    killed_while_writing("atomic_file", path)
    (left,) = names(tmp_path)
    assert left.startswith(".a.") and left.endswith(".tmp.txt")
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["a.txt"]


def test_killed_folder_is_cleared_too(tmp_path):
    killed_while_writing("atomic_folder", tmp_path / "1")
    (left,) = names(tmp_path)
    assert not left.isdigit()  # a server takes every numeric folder for a version
    with atomic_folder(tmp_path / "1") as temporary:
        (temporary / "whole").write_text("")
    assert names(tmp_path) == ["1"]


def test_temporary_of_a_living_process_is_left_alone(tmp_path):
    with atomic_file(tmp_path / "a.txt") as mine:
        mine.write_text("mine")
        other = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
        other.write_text("of a living process")
        foreign = tmp_path / ".a.00000000-999999999-1.tmp.txt"
        foreign.write_text("of another host")
        stale = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-999999999-"))
        stale.write_text("of nobody")
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("again")
    assert names(tmp_path) == sorted(["a.txt", other.name, foreign.name])


def test_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "deep" / "a").read_text() == "1"


def test_folder_error_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):
        with atomic_folder(tmp_path / "out") as temporary:
            (temporary / "a").write_text("1")
            raise ValueError
    assert names(tmp_path) == []


def test_existing_folder_is_refused_before_and_after(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out"):
        with atomic_folder(tmp_path / "out"):
            pytest.fail("the block must not run")
    with pytest.raises(FileExistsError, match="late"):
        with atomic_folder(tmp_path / "late"):
            (tmp_path / "late").mkdir()  # by somebody else, meanwhile
    assert names(tmp_path) == ["late", "out"]


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path):
    code = (
        "import sys, keras_vit.system.files as files\nwith files.held(sys.argv[1]): print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"{tmp_path} is being written to by another process"):
        with held(tmp_path):
            pass
    other.kill()
    other.communicate()
    with held(tmp_path):
        pass
    with held(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_link_to_nothing_is_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(FileExistsError, match="link exists already"):
        with atomic_folder(tmp_path / "link"):
            pytest.fail("the block must not run")
    assert os.readlink(tmp_path / "link") == "nothing"


def test_scratch_is_one_users_and_gone_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as one, scratch_folder() as other:
        assert one != other and one.parent == tmp_path and one.stat().st_mode & 0o77 == 0
        (one / "a").write_text("")
    assert names(tmp_path) == []


def test_scratch_of_the_killed_is_cleared_and_that_of_the_living_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as mine:
        for process, kept in ((999999999, False), (os.getppid(), True)):
            other = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{process}-"))
            other.mkdir()
            (other / "a").write_text("")
        (tmp_path / "keras-vit-notes").mkdir()
        with scratch_folder() as second:
            left = set(names(tmp_path)) - {mine.name, second.name}
    assert len(left) == 2 and "keras-vit-notes" in left and any(f"-{os.getppid()}-" in name for name in left)


@pytest.mark.parametrize("end, left", [("", 0), ("os._exit(0)", 1)])
def test_the_commands_temporaries_lie_together_and_the_next_process_clears_those_of_the_killed(tmp_path, end, left):
    code = (
        "import os, subprocess, sys, tempfile\nfrom keras_vit.system import files\nfiles.keep_temporaries_together()\n"
        "tempfile.mkstemp()\n"
        "subprocess.run([sys.executable, '-c', 'import tempfile; tempfile.mkdtemp()'], check=True)\n"
    )
    for program, expected in ((code + end, left), (code, 0)):
        subprocess.run([sys.executable, "-c", program], env=os.environ | {"TMPDIR": str(tmp_path)}, check=True)
        assert len(names(tmp_path)) == expected


def test_what_multiprocessing_keeps_there_is_removed_first(tmp_path):
    """Of a program that ends by itself: multiprocessing's folder of sockets lies in the one that is removed."""
    code = (
        "import multiprocessing.util\nfrom keras_vit.system import files\nfiles.keep_temporaries_together()\n"
        "multiprocessing.util.get_temp_dir()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, check=True, capture_output=True
    )
    assert done.stderr == b"" and not names(tmp_path)


@pytest.mark.parametrize("name", ["a[1]", "a*b", "a?b", "a\\b", "a["])
@pytest.mark.parametrize("below", ["", "below"])
def test_paths_that_tensorflow_takes_for_patterns_are_refused(tmp_path, name, below, monkeypatch):
    for path in (tmp_path / name / below, str(tmp_path / name / below)):
        with pytest.raises(ValueError, match="TensorFlow takes .* for a pattern of names.*TF Serving"):
            refuse_pattern(path)
    (tmp_path / name / below).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / name / below)
    with pytest.raises(ValueError, match="for a pattern of names"):  # where the current folder is called so
        refuse_pattern("out")


@pytest.mark.parametrize("name", ["a]b", "a{b,c}", "a b", "a%20b", "#a", "$HOME", "it's", "é", "a:b", "~"])
def test_other_characters_are_fine_and_tensorflow_finds_the_variables(tmp_path, name):
    import tensorflow as tf

    refuse_pattern(tmp_path / name)
    module = tf.Module()
    module.one = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / name))
    assert tf.saved_model.load(str(tmp_path / name)).one.numpy() == 1


def test_temporaries_lie_elsewhere_only_meanwhile(tmp_path):
    before = tempfile.gettempdir()
    with temporaries_in(tmp_path):
        assert tempfile.gettempdir() == str(tmp_path)
    assert tempfile.gettempdir() == before
