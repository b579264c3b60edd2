"""PyTorch's files: some recorded with PyTorch, others assembled here opcode by opcode, hostile ones included."""

import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from keras_vit.system import limits
from keras_vit.weights import readers, rules, torch_file, wrappers

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "torch"
BASE = np.arange(12, dtype="float32").reshape(3, 4)
LINEAR = rules.Layout("linear", rules.param("weight", "kernel") + rules.param("bias", "bias"))


# -------------------------------------------------------- a writer of pickles, one opcode at a time


def literal(value):
    """A pickled constant without the frame around it."""
    return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def many(*items):
    return b"(" + b"".join(items) + b"t"


def call(function, *arguments):
    return function + many(*arguments) + b"R"


def storage(key, count, kind="FloatStorage", module="torch"):
    return many(literal("storage"), name(module, kind), literal(key), literal("cpu"), literal(count)) + b"Q"


def tensor(stored, offset=0, shape=(2,), strides=(1,), function="_rebuild_tensor_v2"):
    hooks = call(name("collections", "OrderedDict"))
    arguments = (stored, literal(offset), literal(shape), literal(strides), literal(False), hooks)
    return call(name("torch._utils", function), *arguments)


def table(**items):
    return b"}(" + b"".join(literal(key) + value for key, value in items.items()) + b"u"


def zip_file(path, tree, storages, byteorder=b"little"):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + tree + b".")
        file.writestr("archive/byteorder", byteorder)
        for key, data in storages.items():
            file.writestr(f"archive/data/{key}", data)
    return path


def legacy_file(path, tree, storages, little=True, itemsize=4):
    head = [
        torch_file.MAGIC,
        torch_file.PROTOCOL,
        {"little_endian": little, "protocol_version": 1001},
    ]
    data = b"".join(pickle.dumps(item, 2) for item in head) + b"\x80\x02" + tree + b"."
    data += pickle.dumps(list(storages), 2)
    for numbers in storages.values():
        data += (len(numbers) // itemsize).to_bytes(8, "little") + numbers
    path.write_bytes(data)
    return path


WRITERS = pytest.mark.parametrize("write", [zip_file, legacy_file])
NUMBERS = BASE.tobytes()


# ------------------------------------------------------------------------------ recorded by PyTorch


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_every_kind_of_tensor(layout):
    entries = readers.read(GOLDEN / f"state_dict_{layout}.pth")
    expected = {
        "plain": BASE / 7,
        "half": (BASE / 7).astype("float16").astype("float32"),
        "double": BASE.astype("float64") / 7,
        "steps": np.array(123456789012),
        "bool": np.array([True, False, True]),
        "transposed": BASE.T,
        "row": BASE[1],
        "expanded": np.full((2, 3), 5, "float32"),
        "empty": np.zeros((0, 3), "float32"),
        "parameter": BASE + 1,
    }
    assert set(entries) == set(expected) | {"bfloat16"}
    for key, array in expected.items():
        assert entries.shapes()[key] == array.shape
        np.testing.assert_array_equal(entries[key], array)
        assert entries[key].dtype == array.dtype
    np.testing.assert_allclose(entries["bfloat16"], BASE / 7, rtol=2**-8)
    np.testing.assert_array_equal(entries["bfloat16"].view("uint32") & 0xFFFF, np.zeros((3, 4)))


@pytest.mark.parametrize("file", ["checkpoint_zip", "checkpoint_legacy", "linear_zip"])
def test_training_checkpoints_are_unwrapped(file):
    entries = wrappers.likeliest(readers.read(GOLDEN / f"{file}.pth"), [LINEAR])
    assert entries.shapes() == {"weight": (3, 2), "bias": (3,)}
    np.testing.assert_array_equal(entries["weight"], np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(entries["bias"], np.arange(3.0))


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_truncation_anywhere_is_an_error(tmp_path, layout):
    data = (GOLDEN / f"state_dict_{layout}.pth").read_bytes()
    path = tmp_path / "w.pth"
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="w.pth"):
            dict(readers.read(path))


# -------------------------------------------------------------------------------------------- views


@WRITERS
def test_offset_strides_and_shared_storage(tmp_path, write):
    tree = table(
        whole=tensor(storage("0", 12), 0, (3, 4), (4, 1)),
        columns=tensor(storage("0", 12), 1, (3, 2), (4, 2), "_rebuild_tensor"),
    )
    entries = readers.read(write(tmp_path / "w.pth", tree, {"0": NUMBERS}))
    np.testing.assert_array_equal(entries["whole"], BASE)
    np.testing.assert_array_equal(entries["columns"], BASE[:, 1::2])


def test_view_metadata_of_the_oldest_files(tmp_path):
    view = literal(("1", 4, 4))
    stored = many(
        literal("storage"),
        name("torch", "FloatStorage"),
        literal("0"),
        literal("cpu"),
        literal(12),
        view,
    )
    tree = table(row=tensor(stored + b"Q", 1, (3,), (1,)))
    entries = readers.read(legacy_file(tmp_path / "w.pth", tree, {"0": NUMBERS}))
    np.testing.assert_array_equal(entries["row"], BASE[1, 1:])


OUTSIDE = {
    "too long": dict(shape=(13,)),
    "offset": dict(offset=9, shape=(4,)),
    "stride": dict(shape=(2, 2), strides=(11, 1)),
    "negative offset": dict(offset=-1),
    "negative stride": dict(offset=3, strides=(-1,)),
    "negative size": dict(shape=(-2,)),
    "ranks differ": dict(shape=(2, 2)),
    "not a number": dict(shape=("2",)),
    "empty, beyond": dict(offset=99, shape=(0,)),
}


@WRITERS
@pytest.mark.parametrize("case", OUTSIDE)
def test_a_view_outside_its_storage_is_refused(tmp_path, write, case):
    tree = table(x=tensor(storage("0", 12), **OUTSIDE[case]))
    with pytest.raises(ValueError, match="w.pth is not read: a"):
        readers.read(write(tmp_path / "w.pth", tree, {"0": NUMBERS}))


def test_a_storage_shorter_than_its_count_is_refused(tmp_path):
    tree = table(x=tensor(storage("0", 13)))
    for write, expected in (
        (zip_file, "52 bytes in archive/data/0"),
        (legacy_file, "13 numbers in storage 0"),
    ):
        with pytest.raises(ValueError, match=f"w.pth is damaged.*{expected}"):
            readers.read(write(tmp_path / "w.pth", tree, {"0": NUMBERS}))
    with pytest.raises(ValueError, match="no such member"):
        readers.read(zip_file(tmp_path / "w.pth", tree, {}))


def test_one_storage_with_two_descriptions_is_refused(tmp_path):
    tree = table(x=tensor(storage("0", 12)), y=tensor(storage("0", 24, "HalfStorage")))
    with pytest.raises(ValueError, match="storage 0 twice"):
        readers.read(zip_file(tmp_path / "w.pth", tree, {"0": NUMBERS}))


def test_big_endian_files_are_refused(tmp_path):
    tree = table(x=tensor(storage("0", 12)))
    for path in (
        zip_file(tmp_path / "a.pth", tree, {"0": NUMBERS}, byteorder=b"big"),
        legacy_file(tmp_path / "b.pth", tree, {"0": NUMBERS}, little=False),
    ):
        with pytest.raises(ValueError, match=f"{path.name} was written on a big-endian machine"):
            readers.read(path)


@pytest.mark.parametrize("kind", ["LongStorage", "IntStorage", "ShortStorage", "CharStorage", "ByteStorage"])
def test_whole_numbers(tmp_path, kind):
    numbers = np.arange(6, dtype={"L": "i8", "I": "i4", "S": "i2", "C": "i1", "B": "u1"}[kind[0]])
    tree = table(x=tensor(storage("0", 6, kind), shape=(6,)))
    entries = readers.read(zip_file(tmp_path / "w.pth", tree, {"0": numbers.tobytes()}))
    np.testing.assert_array_equal(entries["x"], numbers)
    assert entries["x"].dtype == numbers.dtype


# -------------------------------------------------------------------------------------- dictionaries


def one(key):
    return tensor(storage(key, 2))


def test_tensors_have_the_names_of_their_dictionaries(tmp_path):
    tree = table(
        model=table(x=one("0"), deep=table(y=one("1")), epoch=literal(3)),
        name=literal("SwinT"),
        z=one("2"),
        optimizer=table(state=literal({0: 1})),
    )
    entries = readers.read(zip_file(tmp_path / "w.pth", tree, {str(k): bytes([k] * 8) for k in range(3)}))
    assert set(entries) == {"z", "model.x", "model.deep.y"}
    assert {name: list(names) for name, names in entries.dictionaries.items()} == {
        "": ["z"],
        "model": ["model.x"],
        "model.deep": ["model.deep.y"],
    }
    assert entries["model.deep.y"].tobytes() == bytes([1] * 8)


def test_a_dictionary_that_stands_twice_is_read_once(tmp_path):
    shared = table(x=one("0")) + b"q\x07"
    tree = table(a=shared, b=b"h\x07")
    assert list(readers.read(zip_file(tmp_path / "w.pth", tree, {"0": bytes(8)}))) == ["a.x"]


@pytest.mark.parametrize("tree", [literal({"epoch": 3}), literal([1, 2]), literal("text"), one("0")])
def test_files_without_a_state_dict_are_refused(tmp_path, tree):
    with pytest.raises(ValueError, match="w.pth holds no state dict"):
        readers.read(zip_file(tmp_path / "w.pth", tree, {"0": bytes(8)}))


# ------------------------------------------------------------------------------------ hostile files


def hostile_trees(target):
    command = literal(f"touch {target}")
    system = name("posix", "system")
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return {
        "system": call(system, command),
        "eval": call(name("builtins", "eval"), literal(f"open({str(target)!r}, 'w')")),
        "behind a stub": call(name("argparse", "Namespace"), call(system, command)),
        "getattr": call(name("builtins", "getattr"), name("torch", "FloatStorage"), literal("__class__")),
        "dotted": b"\x80\x04" + literal("collections") + literal("OrderedDict.__init__") + b"\x93",
        "of a known module": call(name("collections", "_sys")),
        "as a storage": (many(literal("storage"), system, literal("0"), literal("cpu"), literal(2)) + b"Q"),
        "torch's own loader": call(name("torch.storage", "_load_from_bytes"), literal("x")),
        "instance": b"(" + command + b"iposix\nsystem\n",
        "object": b"(" + system + command + b"o",
        "new object": system + many(command) + b"\x81",
        "altered function": rebuild + literal({"function": 1}) + b"b",
        "altered function's slots": rebuild + many(literal({}), literal({"function": 1})) + b"b",
        "altered tensor": one("0") + many(literal({}), literal({"offset": 10**9})) + b"b",
    }


@WRITERS
@pytest.mark.parametrize("attack", hostile_trees("x"))
def test_nothing_of_a_hostile_file_is_executed(tmp_path, write, attack):
    target = tmp_path / "executed"
    tree = table(model=table(x=one("0")), args=hostile_trees(target)[attack])
    path = write(tmp_path / "w.pth", tree, {"0": bytes(8)})
    with pytest.raises(ValueError, match="w.pth is not read: .*not executed"):
        readers.read(path)
    assert not target.exists()


def test_the_attack_would_have_worked(tmp_path):
    target = tmp_path / "executed"
    pickle.loads(b"\x80\x02" + hostile_trees(target)["system"] + b".")
    assert target.exists()


def test_the_error_has_the_refused_name_and_the_remedy(tmp_path):
    path = zip_file(tmp_path / "w.pth", call(name("os", "system"), literal("true")), {})
    with pytest.raises(ValueError, match=r"\(os.system\).*not executed.*state dict.*safetensors"):
        readers.read(path)


@WRITERS
def test_stubs_ignore_every_operation(tmp_path, write):
    stub = name("yacs.config", "CfgNode") + b")\x81"
    filled = stub + literal({"a": 1}) + b"b" + b"(" + literal("k") + literal("v") + b"u"
    longer = stub + b"(" + literal(1) + literal(2) + b"e" + literal(3) + b"a"
    called = call(call(name("torch", "device"), literal("cuda")), literal(1))
    number = call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), literal("f8")))
    tree = table(x=one("0"), a=filled, b=longer, c=called, d=number)
    assert list(readers.read(write(tmp_path / "w.pth", tree, {"0": bytes(8)}))) == ["x"]


def test_attributes_set_on_a_dictionary_change_nothing(tmp_path):
    attributes = many(literal({"items": 1, "get": 2}), literal({"keys": 3}))
    tree = call(name("collections", "OrderedDict")) + b"(" + literal("x") + one("0") + b"u" + attributes + b"b"
    entries = readers.read(zip_file(tmp_path / "w.pth", tree, {"0": bytes(8)}))
    np.testing.assert_array_equal(entries["x"], [0, 0])


@WRITERS
@pytest.mark.parametrize("pid", [("module", "x", "y", "z", 1), "storage", 7, ("storage", 1, "0", "cpu", 2)])
def test_persistent_ids_of_other_kinds_are_refused(tmp_path, write, pid):
    with pytest.raises(ValueError, match="w.pth is not read"):
        readers.read(write(tmp_path / "w.pth", table(x=literal(pid) + b"Q"), {"0": bytes(8)}))


def test_random_bytes_instead_of_the_pickle_are_refused(tmp_path):
    for seed in range(200):
        tree = np.random.default_rng(seed).bytes(40)
        with pytest.raises(ValueError, match="w.pth"):
            readers.read(zip_file(tmp_path / "w.pth", tree, {}))


# ------------------------------------------------------------------------ little that becomes much


@WRITERS
def test_a_tensor_may_repeat_its_numbers_up_to_a_limit(tmp_path, write):
    tree = table(x=tensor(storage("0", 2), 0, (limits.MAX_EXPANDED // 2, 2), (0, 1)))
    entries = readers.read(write(tmp_path / "w.pth", tree, {"0": NUMBERS[:8]}))
    np.testing.assert_array_equal(entries["x"][-1], BASE.ravel()[:2])
    tree = table(x=tensor(storage("0", 2), 0, (limits.MAX_EXPANDED // 2 + 1, 2), (0, 1)))
    with pytest.raises(ValueError, match="w.pth is not read: a tensor of shape.*repeats the 2 numbers.*MAX_EXPANDED"):
        readers.read(write(tmp_path / "w.pth", tree, {"0": NUMBERS[:8]}))


@WRITERS
def test_views_that_read_a_storage_again_and_again_are_refused(tmp_path, write):
    """Each of them reads one of two storages of 1 MB, in turn."""
    count = 2**18
    tree = table(**{f"x{n}": tensor(storage(str(n % 2), count), n) for n in range(1000)})
    with pytest.raises(ValueError, match="w.pth is not read: its tensors read .*MAX_REPEATED"):
        readers.read(write(tmp_path / "w.pth", tree, {"0": bytes(4 * count), "1": bytes(4 * count)}))
    tree = table(**{f"x{n}": tensor(storage("0", count), n) for n in range(1000)})
    assert len(readers.read(write(tmp_path / "w.pth", tree, {"0": bytes(4 * count)}))) == 1000


@WRITERS
def test_a_pickle_longer_than_usual_is_read_and_one_beyond_the_limit_not(tmp_path, write):
    for count, readable in ((limits.MAX_PICKLE // 4, True), (limits.MAX_PICKLE, False)):
        tree = table(x=one("0"), notes=literal("n" * count))
        path = write(tmp_path / "w.pth", tree, {"0": NUMBERS[:8]})
        if readable:
            np.testing.assert_array_equal(readers.read(path)["x"], BASE.ravel()[:2])
        else:
            with pytest.raises(ValueError, match="w.pth.*limit"):
                readers.read(path)


def test_dictionaries_of_old_pickles_are_made_of_pairs(tmp_path):
    pairs = b"](" + b"".join(b"](" + literal(key) + one("0") + b"e" for key in "ab") + b"e"
    for items in (pairs, table(a=one("0"), b=one("0"))):
        tree = call(name("collections", "OrderedDict"), items)
        assert list(readers.read(zip_file(tmp_path / "w.pth", tree, {"0": bytes(8)}))) == ["a", "b"]
