"""Checkpoints that want to run code, or to take memory, are refused and run nothing."""

import builtins
import copyreg
import os
import pickle
import subprocess
import sys
import textwrap
import tracemalloc
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest
import torch
from checkpoint_files import Named, legacy, network, require_same

from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")

# Hostile files. Every payload makes a marker, so that a test sees whether it was run.

MARKER = "marker"


def payloads(marker: Path) -> dict[str, Named]:
    command = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": Named(os.system, f"touch '{marker}'"),
        "exec": Named(builtins.exec, command),
        "eval": Named(builtins.eval, command),
        "open": Named(open, str(marker), "w"),
        "mkdir": Named(Path.mkdir, marker),
        "dill": Named(dill._dill._eval_repr, command),
        "getattr": Named(
            Named(getattr, Named(dill._dill._import_module, "os"), "mkdir"), str(marker)
        ),
        "dill's getattr": Named(
            Named(dill._dill._get_attr, Named(dill._dill._import_module, "os"), "mkdir"),
            str(marker),
        ),
        "function": Named(types.FunctionType, compile(command, "f", "exec"), {}),
        "nested": Named(pickle.loads, pickle.dumps(Named(os.mkdir, str(marker)))),
        "load": Named(torch.load, "other.pt"),
        "numpy": Named(np.load, "other.npy", None, True),
    }


def object_array(content: Any, file: Path) -> None:
    with file.open("wb") as opened:
        np.savez(opened, w=np.ones(3), evil=np.array([content["evil"]], dtype=object))


def as_member(name: str) -> Callable[[Any, Path], None]:
    """Put the pickle in place of a member of a TorchScript archive."""

    def write(content: Any, file: Path) -> None:
        torch.jit.save(torch.jit.script(network()), file)
        replace_member(file, name, dill.dumps(content, protocol=2))

    return write


def replace_member(file: Path, name: str, new: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, new if member.endswith(f"/{name}") else data)


HOLDERS: dict[str, Callable[[Any, Path], None]] = {
    "torch": lambda content, file: torch.save(content, file, pickle_module=dill),
    "torch stream": lambda content, file: legacy(content, file, pickle_module=dill),
    "TorchScript": as_member("data.pkl"),
    "npz": object_array,
    "haiku": lambda content, file: file.write_bytes(dill.dumps(content)),
    "haiku 0": lambda content, file: file.write_bytes(b"\x80\x00" + pickle.dumps(content, 0)),
    "haiku 2": lambda content, file: file.write_bytes(pickle.dumps(content, 2)),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("payload", payloads(Path(MARKER)))
def test_a_payload_is_refused_and_not_run(
    holder: str, payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker, file = tmp_path / MARKER, tmp_path / "weights.pt"
    evil = payloads(marker)[payload]
    try:
        HOLDERS[holder](
            {"w": torch.ones(3) if "torch" in holder else np.ones(3), "evil": evil}, file
        )
    except (pickle.PicklingError, TypeError):
        pytest.skip("this pickler cannot write it")
    with pytest.raises(InputError, match="asks for") as caught:
        read_checkpoint(file)
    assert not marker.exists()
    assert str(caught.value).count(str(file)) == 1
    assert "\n" not in str(caught.value)
    if payload == "os.system" and holder != "npz":
        assert "posix.system" in str(caught.value)


def test_the_payloads_are_sharp(tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    for name in (
        "os.system",
        "exec",
        "open",
        "mkdir",
        "dill",
        "getattr",
        "dill's getattr",
        "nested",
    ):
        dill.loads(dill.dumps(payloads(marker)[name]))
        assert marker.exists(), name
        marker.rmdir() if marker.is_dir() else marker.unlink()


def test_constants_of_torchscript_are_never_read(tmp_path: Path) -> None:
    file = tmp_path / "RN50.pt"
    as_member("constants.pkl")({"evil": payloads(tmp_path / MARKER)["os.system"]}, file)
    require_same(read_checkpoint(file), network().state_dict())
    assert not (tmp_path / MARKER).exists()


def test_code_of_torchscript_is_never_compiled(tmp_path: Path) -> None:
    file = tmp_path / "RN50.pt"
    torch.jit.save(torch.jit.script(network()), file)
    with zipfile.ZipFile(file) as archive:
        code = [name for name in archive.namelist() if name.endswith(".py")]
    assert code
    for name in code:
        replace_member(file, name.partition("/")[2], b"this is no code (")
    script = """
        import sys, pathlib, torch
        from conceptrsa.analysis.models.weights.tensors import read_checkpoint

        def refuse(*arguments, **named):
            sys.exit("compiled")

        for name in dir(torch._C):
            if "import_ir_module" in name or "jit_script_compile" in name:
                setattr(torch._C, name, refuse)
        print(sorted(read_checkpoint(pathlib.Path(sys.argv[1]))))
    """
    run = [sys.executable, "-c", textwrap.dedent(script), str(file)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(network().state_dict()))
    with pytest.raises(RuntimeError):
        torch.jit.load(file)


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nI0\ntU\x01btR"
DTYPE = b"cnumpy\ndtype\n(U\x02f4I0\nI1\ntR"

TRICKS = {
    "dotted name": opcodes(b"ccollections\nOrderedDict.fromkeys\n(]tR"),
    "dotted name of a stack": opcodes(b"X\x02\0\0\0osX\x06\0\0\0system\x93X\1\0\0\0a\x85R"),
    "state of a class": opcodes(b"ccollections\nOrderedDict\n}X\1\0\0\0aK\1sb"),
    "attributes of a class": opcodes(b"ccollections\nOrderedDict\nN}X\1\0\0\0aK\1s\x86b"),
    "extension": opcodes(b"\x82\x07"),
    "not an array": opcodes(b"}X\1\0\0\0a", ARRAY, b"(K\1(K\1tNI00\nU\4\0\0\0\0tbs"),
    "array of objects": opcodes(
        b"}X\1\0\0\0a", ARRAY, b"(K\1(K\1tcnumpy\ndtype\n(U\x02O8tRI00\n]tbs"
    ),
    "shape beyond its bytes": opcodes(
        b"}X\1\0\0\0a", ARRAY, b"(K\1(J\xff\xff\xff\x7ft", DTYPE, b"I00\nU\4\0\0\0\0tbs"
    ),
    "itself": opcodes(b"}q\0X\1\0\0\0ah\0s"),
    "memo of two thousand million": opcodes(b"}r\xff\xff\xff\x7f"),
    "bytes of a million million": opcodes(b"}X\1\0\0\0a\x8e\0\x10\xa5\xd4\xe8\0\0\0aaa"),
    "byte array of a thousand million": opcodes(b"}X\1\0\0\0a\x96\0\xca\x9a\x3b\0\0\0\0aaa"),
    "persistent id": opcodes(b"}X\1\0\0\0aK\1Qs"),
    "nothing": b"\x80\x02.",
    "depth": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "no mapping": opcodes(b"K\1"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_pickle_end_in_a_sentence_and_take_no_memory(
    trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(copyreg._inverted_registry, 7, ("os", "system"))
    monkeypatch.setitem(copyreg._extension_cache, 7, os.system)
    file = tmp_path / "mmv.pkl"
    file.write_bytes(TRICKS[trick])
    before = dict(vars(OrderedDict))
    tracemalloc.start()
    try:
        if trick == "memo of two thousand million":
            assert read_checkpoint(file) == {}
        else:
            with pytest.raises(InputError, match=r"mmv\.pkl"):
                read_checkpoint(file)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert dict(vars(OrderedDict)) == before


@pytest.mark.parametrize("write", [torch.save, legacy])
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (10**13,), (1,)), (1, (4,), (1,)), (0, (4,), (2,)), (0, (4,), (-1,)), (-1, (2,), (1,))],
)
def test_tensors_stay_within_their_numbers(
    write: Callable[[Any, Path], None],
    offset: int,
    size: tuple[int],
    stride: tuple[int],
    tmp_path: Path,
) -> None:
    numbers = torch.zeros(4).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=numbers, dtype=torch.float32, _internal=True)
    rebuild = torch._utils._rebuild_tensor_v2
    content = {"w": Named(rebuild, typed, offset, size, stride, False, OrderedDict())}
    write(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="beyond its numbers"):
        read_checkpoint(tmp_path / "weights.pt")


def test_a_billion_laughs_end(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"w": np.ones(1)}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    (tmp_path / "mmv.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(InputError, match="1000000 entries"):
        read_checkpoint(tmp_path / "mmv.pkl")
