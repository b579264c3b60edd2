"""A small store of two checkpoints, and ways of damaging the newest: files of other kinds, crafted zips, untrue states.

The newest is of step 6, the one before of step 3, of a run of 4 epochs x 3 steps.
"""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np

from keras_vit.training.run import checkpoint, facts
from keras_vit.training.run.logs import SUMMARY

STEPS = 3
BOUNDS = facts.Bounds(epochs=4, steps=STEPS, images={"train": 24, "val": 4})
OLDER, NEWEST = "step-00000003.npz", "step-00000006.npz"
WEIGHTS = ("model/00000/kernel", "model/00001/bias")


def arrays(step):
    """What a checkpoint holds, different in each."""
    values = {"model/00000/kernel": np.full((4, 5), step / 7, "float32"), "model/00001/bias": np.arange(5.0) + step}
    return values | {"optimizer/00000/adamw/iteration": np.array(step), "guard/00000/scale": np.array(1.0, "float32")}


def row(epoch):
    """A row of the history."""
    return {name: 1.5 + epoch / 3 for name in SUMMARY} | {"epoch": epoch}


def state(step):
    """What a checkpoint at the end of an epoch says."""
    history = [row(epoch) for epoch in range(step // STEPS)]
    sums = {"steps": 0, "loss": 0.0, "correct": 0.0, "applied": 0, "norm": 0.0, "seconds": 0.0}
    bad = {"train": [[3, 4, "cut"]], "val": []}
    return {"step": step, "history": history, "best": history[0], "sums": sums, "bad": bad}


def store(folder):
    """A store that is as the trainer's."""
    return checkpoint.Store(folder, 2, arrays(0), BOUNDS.check)


def write(folder):
    """Write both checkpoints."""
    made = store(folder)
    made.save_best(0, {name: arrays(3)[name] for name in WEIGHTS})
    for step in (3, 6):
        made.save(step, arrays(step), state(step))


def savez(path, values, said):
    """Write a checkpoint as versions without a checksum did."""
    text = np.frombuffer(said if isinstance(said, bytes) else json.dumps(said).encode(), "uint8")
    buffer = io.BytesIO()
    np.savez(buffer, **values, **{"state.json": text})
    path.write_bytes(buffer.getvalue())


def said(**changes):
    """Damage: the state says something else, in a file without a checksum."""
    return lambda path: savez(path, arrays(6), state(6) | changes)


def without(name):
    """Damage: the state lacks a field."""
    return lambda path: savez(path, arrays(6), {k: v for k, v in state(6).items() if k != name})


def text(content):
    """Damage: the state is other text."""
    return lambda path: savez(path, arrays(6), content)


def holds(**changes):
    """Damage: other arrays; "__" in a name stands for "/"."""
    named = {name.replace("__", "/"): value for name, value in changes.items()}
    return lambda path: savez(path, {k: v for k, v in (arrays(6) | named).items() if v is not None}, state(6))


def special(make):
    """Damage: another kind of file in its place."""

    def damage(path):
        path.unlink()
        make(path)

    return damage


def zipped(method=zipfile.ZIP_STORED, **changes):
    """Damage: the file as another zip; `changes` go to the fields of its first member, in the list at its end."""

    def damage(path):
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(buffer := io.BytesIO(), "w", method) as made:
            for name in whole.namelist():
                made.writestr(name, whole.read(name))
            for field, value in changes.items():
                setattr(made.infolist()[0], field, value)
        path.write_bytes(buffer.getvalue())

    return damage


def npy(header, content=b""):
    """Damage: the first array's .npy has this header."""

    def damage(path):
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(buffer := io.BytesIO(), "w") as made:
            for number, name in enumerate(whole.namelist()):
                made.writestr(name, whole.read(name) if number else start + content)
        path.write_bytes(buffer.getvalue())

    return damage


def bytes_of(change):
    """Damage: the bytes are changed."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def unlike_its_arrays(path):
    """Damage: the state of one checkpoint with the arrays of another; both are whole."""
    with zipfile.ZipFile(path) as newest, zipfile.ZipFile(path.with_name(OLDER)) as older:
        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as made:
            for name in newest.namelist():
                made.writestr(name, (older if "model" in name else newest).read(name))
    path.write_bytes(buffer.getvalue())


def with_a_changed_word(path):
    """Damage: a loss in the state, whose checksum stays."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(buffer := io.BytesIO(), "w") as made:
        for name in whole.namelist():
            made.writestr(name, whole.read(name).replace(b"1.5", b"1.6"))
    path.write_bytes(buffer.getvalue())


def _dangling(path):
    os.symlink("nothing", path)


def _loop(path):
    os.symlink(path.name, path)


def _folder(path):
    path.mkdir()
    (path / "note.txt").write_text("somebody's")


def _npy_file(path):
    np.save(buffer := io.BytesIO(), arrays(6)["model/00000/kernel"])
    path.write_bytes(buffer.getvalue())


def _savez_only(path, state):
    np.savez(buffer := io.BytesIO(), **arrays(6), **{"state.json": state})
    path.write_bytes(buffer.getvalue())


def _empty_rows(count):
    return [row(epoch) for epoch in range(count)]


NAN, INFINITE = np.full((4, 5), np.nan, "float32"), np.full((4, 5), np.inf, "float32")
DEEP = b"[" * 200_000
HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
KINDS = {
    "a pipe": special(os.mkfifo),
    "a folder": special(_folder),
    "an empty folder": special(Path.mkdir),
    "a link to nothing": special(_dangling),
    "a link to itself": special(_loop),
    "a device": special(lambda path: os.symlink("/dev/zero", path)),
    "a link to a pipe": special(lambda path: (os.mkfifo(path.with_name("pipe")), os.symlink("pipe", path))),
    "empty": bytes_of(lambda content: b""),
    "cut in half": bytes_of(lambda content: content[: len(content) // 2]),
    "cut at its end": bytes_of(lambda content: content[:-10]),
    "cut at its start": bytes_of(lambda content: content[10:]),
    "zeros": bytes_of(lambda content: bytes(len(content))),
    "text": bytes_of(lambda content: b"no checkpoint\n" * 100),
    "a flipped bit": bytes_of(lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:]),
    "a .npy": special(_npy_file),
    "an .npz of objects": holds(model__00000__kernel=np.array([{}], object)),
    "a method unknown": zipped(compress_type=99),
    "a method of 2001": zipped(compress_type=9),
    "deflated": zipped(zipfile.ZIP_DEFLATED),
    "bzip2": zipped(zipfile.ZIP_BZIP2),
    "lzma": zipped(zipfile.ZIP_LZMA),
    "encrypted": zipped(flag_bits=1),
    "a wrong CRC": zipped(CRC=1),
    "a member of 4 GB": zipped(file_size=2**32 - 2),
    "a member of 2^62 bytes": zipped(file_size=2**62),
    "a member beyond the end": zipped(header_offset=2**31),
    "a header of 2^60 numbers": npy((HEADER % ("<f4", "(1152921504606846976,)")).encode()),
    "a header of 2^31 numbers": npy((HEADER % ("<f4", "(2147483648,)")).encode(), bytes(100)),
    "a negative shape": npy((HEADER % ("<f4", "(-4, -5)")).encode(), bytes(80)),
    "a shape of 10^4000": npy((HEADER % ("<f4", f"(1{'0' * 4000},)")).encode()),
    "a header nested deep": npy(b"(" * 5000),
    "a header that is no Python": npy(b"'''\n\\"),
    "a header of code": npy(b"__import__('os').abort()"),
    "an object header": npy((HEADER % ("|O", "(1,)")).encode(), b"cos\nabort\n(tR."),
    "no state": bytes_of(lambda content: content.replace(b"state.json", b"spate.json")),
    "a state of two axes": lambda path: _savez_only(path, np.zeros((2, 2), "uint8")),
    "a state of floats": lambda path: _savez_only(path, np.zeros(3)),
    "the state of another checkpoint": unlike_its_arrays,
    "a loss that is another": with_a_changed_word,
    "JSON nested deep": text(DEEP),
    "JSON that is none": text(b"{"),
    "no UTF-8": text(b'{"step": "\xff"}'),
    "a list": text(b"[]"),
    "null": text(b"null"),
    "a number": text(b"6"),
    "an integer of 5,000 digits": text(b'{"step": ' + b"9" * 5000 + b"}"),
    "an integer of 4,000 digits": said(step=10**4000),
    "step 1,000,000": said(step=1_000_000),
    "step -5": said(step=-5),
    "step 3": said(step=3, history=_empty_rows(1)),
    "a step that is none": said(step=None),
    "a step of text": said(step="6"),
    "a step with a fraction": said(step=6.5),
    "a step that is true": said(step=True),
    "no history": said(history=[]),
    "too long a history": said(history=_empty_rows(5), step=15),
    "a history of nulls": said(history=[None, None]),
    "a history of text": said(history="ab"),
    "a history out of order": said(history=[row(1), row(0)]),
    "a history without a column": said(history=[{"epoch": 0}, {"epoch": 1}]),
    "a loss of text": said(history=[row(0), row(1) | {"eval_loss": "1"}]),
    "a loss that is no number": said(history=[row(0), row(1) | {"eval_loss": float("nan")}]),
    "an accuracy of 1000 %": said(history=[row(0), row(1) | {"eval_top1": 1000.0}]),
    "a best epoch of none": said(best=None),
    "a best epoch of text": said(best="first"),
    "a best epoch of another run": said(best=row(0) | {"eval_loss": 0.0}),
    "a best epoch without weights": said(best=row(1)),
    "sums of another step": said(sums=state(6)["sums"] | {"steps": 2}),
    "sums without a loss": said(sums={"steps": 0}),
    "sums of null": said(sums=None),
    "bad images of null": said(bad=None),
    "bad images of no split": said(bad={}),
    "bad images beyond the end": said(bad={"train": [[99, 1, "x"]], "val": []}),
    "bad images of text": said(bad={"train": ["abc"], "val": []}),
    **{f"no {name}": without(name) for name in ("step", "history", "best", "sums", "bad")},
    "weights of NaN": holds(model__00000__kernel=NAN),
    "infinite weights": holds(model__00000__kernel=INFINITE),
    "a moment of NaN": holds(guard__00000__scale=np.array(np.nan, "float32")),
    "weights of another shape": holds(model__00000__kernel=np.zeros((5, 4), "float32")),
    "weights of text": holds(model__00000__kernel=np.full((4, 5), "a")),
    "complex weights": holds(model__00000__kernel=np.full((4, 5), 1j)),
    "weights too many": holds(model__00002__kernel=np.zeros(3)),
    "weights too few": holds(model__00000__kernel=None),
    "the arrays of another step": holds(optimizer__00000__adamw__iteration=np.array(7)),
}
