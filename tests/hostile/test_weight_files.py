"""Whatever is in a weight file: its weights, or one error that names it, in 10 s and 1 GB; no code of it is executed.

The kinds that were found are crafted (crafted_*.py); Hypothesis mutates valid files of every format, whole and by part.
"""

import copy
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, strategies
from safetensors.numpy import save_file

from keras_vit.sources import loading
from tests.hostile import crafted_keras, crafted_pickles, crafted_zips
from tests.hostile.bounds import within
from tests.hostile.many import examples
from tests.hostile.mutations import mutated
from tests.hostile.weight_files import CLASSES, FAMILY, ODD, TABLES, arrays, contents, toy
from tests.weights.test_torch_file import legacy_file, storage, table, tensor, zip_file

SECONDS, SIZE = 10, 2**30  # what is promised
LARGE = 2**25  # numbers of the largest array that is written
READ = {"a circle", "NaN", "no metadata", "an input of no size", "an input of 2^40 pixels", "assets"}  # odd, and read


def read(path, family=FAMILY):
    """Read all of a file, then into a model."""
    source = loading.open_source(str(path), None, CLASSES, True)
    if source.entries is not None:
        for name in source.entries:
            source.entries[name]
    model, kind = toy(family)
    loading.load(model, source, kind, True, CLASSES)


def check(path, family=FAMILY):
    """Whether a file is read; if not, the error names it. Either takes no more than is promised."""
    with within(SECONDS, SIZE):
        try:
            read(path, family)
            return True
        except ValueError as error:
            text = str(error)
    assert str(path) in text and len(text) < 10_000, text
    return False


# What was found ------------------------------------------------------------------------------------------------------


LONG = ("250,000", "million", "25,000", "30,000", "5,000 blocks", "packed by", "100,000")  # to write, mostly


def kinds(table, light=()):
    """The kinds of a table as a test's parameter: those that take a second to write, and all but `light`, are slow."""

    def marks(kind):
        slow = any(word in kind for word in LONG) or light and not any(word in kind for word in light)
        return [pytest.mark.slow] * bool(slow)

    named = [pytest.param(kind, marks=marks(kind), id=kind.replace(" ", "_")) for kind in table]
    return pytest.mark.parametrize("kind", named)


@kinds(crafted_zips.ZIPS)
def test_a_zip_that_harms_is_refused(tmp_path, kind):
    assert not check(crafted_zips.ZIPS[kind](tmp_path))


@kinds(crafted_zips.NPZ)
def test_an_npz_that_harms_is_refused(tmp_path, kind):
    assert not check(crafted_zips.NPZ[kind](tmp_path))


@kinds(crafted_zips.SAFETENSORS)
def test_a_safetensors_file_that_harms_is_refused(tmp_path, kind):
    assert not check(crafted_zips.SAFETENSORS[kind](tmp_path))


@kinds(crafted_pickles.TREES)
def test_a_pickle_that_harms_is_refused(tmp_path, kind):
    assert not check(crafted_pickles.pickled(kind, zip_file)(tmp_path))


@kinds(crafted_pickles.TREES, light=("memo", "doubled", "integer", "2^62"))
def test_a_pickle_that_harms_is_refused_in_the_older_layout(tmp_path, kind):
    assert not check(crafted_pickles.pickled(kind, legacy_file)(tmp_path))


@kinds(crafted_keras.H5)
def test_an_hdf5_file_that_harms_is_refused(tmp_path, kind):
    assert check(crafted_keras.H5[kind](tmp_path)) == (kind in READ)


@kinds(crafted_keras.KERAS)
def test_a_keras_file_that_harms_is_refused(tmp_path, kind):
    assert check(crafted_keras.KERAS[kind](tmp_path)) == (kind in READ)


def resized(array, axis, size):
    """An array with another size along an axis, of zeros."""
    shape = array.shape[:axis] + (size,) + array.shape[axis + 1 :]
    return np.zeros(shape, "float32")  # of which the system takes no memory before they are read


@pytest.mark.parametrize(
    ("family", "path"),
    [("vit", "positions/table"), ("swin", "stage0_block0/attn/bias_table")],
)
def test_odd_sizes_of_what_is_resampled_are_refused(tmp_path, family, path):
    check_sizes(tmp_path, family, path, (0, 1, 2, 1024))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "path"), [(family, path) for family, paths in TABLES.items() for path in paths])
def test_odd_sizes_of_all_that_is_resampled_are_refused(tmp_path, family, path):
    check_sizes(tmp_path, family, path, ODD)


def check_sizes(folder, family, path, sizes):
    """Every axis of a variable gets every size, as an array and as one that repeats one number."""
    numbers = arrays(family)
    for axis in range(numbers[path].ndim):
        for size in sizes:
            changed = resized(numbers[path], axis, size)
            if changed.size <= LARGE:  # the file holds them, and so does what reads it
                save_file(numbers | {path: changed}, folder / "w.safetensors")
                check(folder / "w.safetensors", family)
            tree = table(**{path: tensor(storage("0", 1), 0, changed.shape, (0,) * changed.ndim)})
            check(zip_file(folder / "w.pth", tree, {"0": bytes(4)}), family)


def test_nothing_is_executed(tmp_path):
    target = tmp_path / "executed"
    for tree in crafted_pickles.executing(target):
        for write in (zip_file, legacy_file):
            path = write(tmp_path / "w.pth", table(good=crafted_pickles.ITEM, x=tree), {"0": bytes(8)})
            assert not check(path)
    assert not target.exists()


def test_valid_files_are_read(tmp_path):
    for name, content in contents().items():
        (tmp_path / name).write_bytes(content)
        assert check(tmp_path / name), name


# What nobody thought of ----------------------------------------------------------------------------------------------


def writing(folder, name, content):
    """Write bytes to a file of the folder and check it."""
    path = folder / name
    path.write_bytes(content)
    return check(path)


@strategies.composite
def whole_files(draw):
    """(name, bytes) of a valid file, changed."""
    name = draw(strategies.sampled_from(sorted(contents())))
    return name, draw(mutated([contents()[name]]))


@strategies.composite
def members(draw, folder):
    """The path of a valid zip of which a member was changed, and its checksum made right."""
    name = draw(strategies.sampled_from([name for name in sorted(contents()) if contents()[name].startswith(b"PK")]))
    source, path = folder / f"valid.{name}", folder / name
    source.write_bytes(contents()[name])
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        chosen = draw(strategies.sampled_from(sorted(old.namelist())))
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, draw(mutated([data])) if member == chosen else data)
    return path


FRAGMENTS = [
    b"N",
    b")",
    b"]",
    b"}",
    b"(",
    b"t",
    b"\x85",
    b"\x86",
    b"q\x01",
    b"h\x01",
    b"e",
    b"u",
    b"a",
    b"s",
    b"R",
    b"Q",
]
FRAGMENTS += [b"0", b"1", b"2", b"b", b"K\x05", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"\x81", b"\x93", b"l", b"d"]
FRAGMENTS += [tree for tree in crafted_pickles.TREES.values() if len(tree) < 500]


@strategies.composite
def pickles(draw):
    """A pickle of fragments, good and bad ones."""
    return b"".join(draw(strategies.lists(strategies.sampled_from(FRAGMENTS), min_size=1, max_size=40)))


ODD_VALUES = [None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1.5, 1e308, float("inf"), "", "a", "\x00", [], {}, [[]], ["a"]]


def paths_in(value, path=()):
    """The paths of all that is in JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_in(item, (*path, key))


@strategies.composite
def architectures(draw, text):
    """A config.json with one to three values replaced by odd ones."""
    config = json.loads(text)
    for _ in range(draw(strategies.integers(1, 3))):
        *above, last = draw(strategies.sampled_from([path for path in paths_in(config) if path]))
        target = config
        for key in above:
            target = target[key]
        target[last] = copy.deepcopy(draw(strategies.sampled_from(ODD_VALUES)))  # which the next change may change
    return json.dumps(config).encode()


@strategies.composite
def headers(draw):
    """The JSON of a safetensors header of odd sizes and places."""
    number = strategies.sampled_from([-1, 0, 1, 2, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 2**64, 1.5, "a", None])
    item = strategies.fixed_dictionaries(
        {
            "dtype": strategies.sampled_from(["F32", "BF16", "F64", "BOOL", "F4", "C64", None]),
            "shape": strategies.lists(number, max_size=4),
            "data_offsets": strategies.lists(number, min_size=2, max_size=2),
        }
    )
    return json.dumps(draw(strategies.dictionaries(strategies.sampled_from(["x", "y", "__metadata__"]), item))).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    contents()  # now: while examples are drawn, nothing else may be drawn
    return tmp_path_factory.mktemp("mutated")


def fuzz(folder, data, kind):
    """Draw one file of a kind and check it."""
    if kind == "whole":
        writing(folder, *data.draw(whole_files()))
    elif kind == "member":
        check(data.draw(members(folder)))
    elif kind == "pickle":
        tree = table(good=crafted_pickles.ITEM, x=data.draw(pickles()))
        check(data.draw(strategies.sampled_from([zip_file, legacy_file]))(folder / "w.pth", tree, {"0": bytes(8)}))
    elif kind == "header":
        check(crafted_zips.safetensors(data.draw(headers()))(folder))
    else:
        with zipfile.ZipFile(crafted_keras.unchanged(folder)) as file:
            text = file.read("config.json")
        check(crafted_keras.with_architecture(data.draw(architectures(text)))(folder))


FUZZED = {"whole": 25, "member": 25, "pickle": 60, "header": 30, "architecture": 10}  # kind: examples in `make test`


@pytest.mark.parametrize("kind", FUZZED)
def test_changed_files_are_read_or_refused(folder, kind):
    @examples(FUZZED[kind])
    @given(strategies.data())
    def run(data):
        fuzz(folder, data, kind)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUZZED)
def test_many_changed_files_are_read_or_refused(folder, kind):
    @examples(10_000 if kind != "architecture" else 2_000)
    @given(strategies.data())
    def run(data):
        fuzz(folder, data, kind)

    run()
