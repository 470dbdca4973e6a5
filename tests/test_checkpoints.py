"""Checkpoints of all formats: what is written is read, and nothing of what is read is run."""

import argparse
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from analysis.models.registry import KeyMapping
from analysis.models.weights.key_mapping import fit_state
from analysis.models.weights.tensors import flat_tensors, read_checkpoint
from bids_config.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


class Block(torch.nn.Module):
    """A network whose buffers and names nest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        self.scale = torch.nn.Parameter(torch.tensor(2.5))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.bn(self.conv(pictures)).mean(dim=(2, 3))) * self.scale


def network(seed: int = 0) -> Block:
    torch.manual_seed(seed)
    block = Block().eval()
    block.bn.running_mean.normal_()
    return block


def legacy(content: Any, file: Path, **options: Any) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False, **options)


def npz(content: Mapping[str, torch.Tensor], file: Path) -> None:
    with file.open("wb") as opened:
        np.savez(opened, **{name: tensor.numpy() for name, tensor in content.items()})


def npz_compressed(content: Mapping[str, torch.Tensor], file: Path) -> None:
    with file.open("wb") as opened:
        np.savez_compressed(opened, **{name: tensor.numpy() for name, tensor in content.items()})


def haiku(protocol: int) -> Callable[[Mapping[str, torch.Tensor], Path], None]:
    def write(content: Mapping[str, torch.Tensor], file: Path) -> None:
        arrays = {name: tensor.numpy() for name, tensor in content.items()}
        file.write_bytes(dill.dumps(arrays, protocol=protocol))

    return write


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "torch": torch.save,
    "torch stream": legacy,
    "torch by dill": lambda content, file: torch.save(content, file, pickle_module=dill),
    "torch stream by dill": lambda content, file: legacy(content, file, pickle_module=dill),
    "safetensors": save_file,
    "npz": npz,
    "npz compressed": npz_compressed,
    **{f"haiku {protocol}": haiku(protocol) for protocol in (2, 3, 4, 5)},
}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tensors_come_back_in_their_own_type(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    given = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }
    file = tmp_path / "no-extension"
    WRITERS[form](given, file)
    require_same(read_checkpoint(file), given)


def require_same(read: Mapping[str, Any], given: Mapping[str, torch.Tensor]) -> None:
    assert list(read) == list(given) or sorted(read) == sorted(given)
    for name, tensor in given.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


@pytest.mark.parametrize("write", [torch.save, legacy])
def test_views_shared_numbers_and_odd_types_equal_torch(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    base = torch.arange(24.0)
    content = {
        "state_dict": OrderedDict(
            whole=base,
            part=base[4:16].view(3, 4).T,
            kernel=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
            parameter=torch.nn.Parameter(torch.randn(3)),
            empty=torch.empty(0, 3),
            scalar=torch.tensor(7),
            flags=torch.tensor([True, False]),
            brain=torch.randn(3).bfloat16(),
            double=torch.randn(3).double(),
            small=torch.tensor([-3], dtype=torch.int8),
        ),
        "epoch": 3,
    }
    file = tmp_path / "weights.pt"
    write(content, file)
    oracle = torch.load(file, weights_only=True)
    read = read_checkpoint(file)
    assert read["epoch"] == oracle["epoch"]
    require_same(read["state_dict"], oracle["state_dict"])
    assert read["state_dict"]["part"].stride() == oracle["state_dict"]["part"].stride()


class Named:
    """Pickles as a call of something that another version of a library has."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __call__(self) -> None:
        """Be taken for a function by pickle."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("write", [torch.save, legacy])
def test_what_training_leaves_beside_the_tensors_is_passed_over(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    # dill 0.2.9, which wrote the robustness models, names C functions by module and attribute.
    module = Named(dill._dill._import_module, "numpy.core.multiarray")
    scalar = Named(dill._dill._get_attr, module, "scalar")
    content = {
        "model": network().state_dict(),
        "args": argparse.Namespace(lr=0.1, arch="resnet50"),
        "best": np.float64(0.7),
        "lr": Named(scalar, np.dtype("f8"), b"\0" * 8),
        "random": np.random.default_rng(0).bit_generator.state["state"],
    }
    file = tmp_path / "weights.pt"
    write(content, file)
    require_same(read_checkpoint(file)["model"], content["model"])


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("half", [False, True])
def test_torchscript_gives_the_state_of_its_modules(how: str, half: bool, tmp_path: Path) -> None:
    block = network().half() if half else network()
    picture = torch.randn(1, 3, 5, 5, dtype=torch.float16 if half else torch.float32)
    script = torch.jit.script(block) if how == "script" else torch.jit.trace(block, picture)
    file = tmp_path / "RN50.pt"
    torch.jit.save(script, file)
    oracle = torch.jit.load(file).state_dict()
    assert sorted(oracle) == sorted(block.state_dict())
    require_same(read_checkpoint(file), oracle)


def test_haiku_mappings_and_arrays_of_jax_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = np.asfortranarray(np.random.default_rng(0).normal(size=(3, 3, 2, 4)))
    count = np.array(5, dtype=">i4")
    call, arguments, state = kernel.__reduce__()
    file = tmp_path / "mmv.pkl"
    with monkeypatch.context() as patch:
        flat_mapping = stand_in(patch, "haiku._src.data_structures", "FlatMapping")
        frozen = stand_in(patch, "haiku._src.data_structures", "frozendict")
        jax_array = stand_in(patch, "jax._src.array", "_reconstruct_array")
        array = Named(jax_array, call, arguments, state, {})
        content = {
            "params": Named(flat_mapping, {"net/~/conv": Named(flat_mapping, {"w": array})}),
            "state": Named(frozen, {"net/~/ema": {"counter": count}}),
        }
        file.write_bytes(pickle.dumps(content))
    tensors = flat_tensors(read_checkpoint(file), "/")
    assert list(tensors) == ["params/net/~/conv/w", "state/net/~/ema/counter"]
    assert np.array_equal(tensors["params/net/~/conv/w"].numpy(), kernel)
    assert tensors["state/net/~/ema/counter"].item() == 5
    assert not {"haiku", "jax"} & set(sys.modules)


def stand_in(patch: pytest.MonkeyPatch, module: str, name: str) -> Callable[..., None]:
    """Give a function that pickles by the name of one that is not installed."""

    def function(*arguments: Any) -> None: ...

    function.__module__, function.__qualname__ = module, name
    parts = module.split(".")
    for depth in range(len(parts)):
        path = ".".join(parts[: depth + 1])
        patch.setitem(sys.modules, path, sys.modules.get(path) or types.ModuleType(path))
    setattr(sys.modules[module], name, function)
    return function


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
        from analysis.models.weights.tensors import read_checkpoint

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
    checkpoint = read_checkpoint(tmp_path / "mmv.pkl")
    with pytest.raises(InputError, match="1000000 entries"):
        fit_state(checkpoint, KeyMapping(), network(), tmp_path / "mmv.pkl", "Block")


# Damaged files.


def torchscript(content: Any, file: Path) -> None:
    torch.jit.save(torch.jit.script(network()), file)


ALL_WRITERS = {**WRITERS, "TorchScript": torchscript}


@pytest.mark.parametrize("form", ALL_WRITERS)
def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(form: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut.pth"
    ALL_WRITERS[form](network().state_dict(), whole)
    content = whole.read_bytes()
    ends = {1, 2, 9, 40, *np.linspace(100, len(content) - 1, 40).astype(int).tolist()}
    for end in ends:
        cut.write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.pth"):
            read_checkpoint(cut)


@pytest.mark.parametrize("form", ALL_WRITERS)
def test_damage_anywhere_is_an_error_or_harmless(form: str, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged.pth"
    ALL_WRITERS[form](network().state_dict(), whole)
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole.read_bytes())
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(256)
        damaged.write_bytes(content)
        try:
            assert isinstance(read_checkpoint(damaged), Mapping)
        except InputError as error:
            assert "damaged.pth" in str(error)


@pytest.mark.parametrize("form", ["torch", "npz", "TorchScript"])
def test_a_bit_that_flips_among_the_numbers_of_an_archive_is_found(
    form: str, tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    state = network().state_dict()
    ALL_WRITERS[form](state, file)
    content = bytearray(file.read_bytes())
    place = content.find(state["conv.weight"].numpy().tobytes())
    content[place + 5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>404</title></html>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 600, "HDF5"),
        (b"\x1f\x8b\x08" + b"\0" * 600, "gzip"),
        (b"PNG and so on", "no known format"),
        (b"\x93NUMPY\x01\0", "no known format"),
        (b"sys_info".ljust(257, b"\0") + b"ustar" + b"\0" * 400, "tar archive"),
    ],
)
def test_other_files_are_named_for_what_they_are(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "resnet50.pth"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_checkpoint(file)
    assert str(file) in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(InputError, match="cannot be read"):
            read_checkpoint(file)


def test_an_archive_that_swells_and_one_of_other_things_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", b"\0" * (1 << 25))
    with pytest.raises(InputError, match=r"unpack to 0\.0 GB"):
        read_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("resnet50.pth", b"weights")
    with pytest.raises(InputError, match="unpack it"):
        read_checkpoint(file)


def test_numbers_of_torch_are_mapped_and_not_copied(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10_000_000)}, tmp_path / "weights.pt")
    script = """
        import pathlib, resource, sys, torch
        from analysis.models.weights.tensors import read_checkpoint

        read = read_checkpoint(pathlib.Path(sys.argv[1]))
        private = pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
        read["w"].sum()
        after = pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
        print(int(after) - int(private))
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured on Linux")
    run = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "weights.pt")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000


# From the file's names to the architecture's.

FILE = Path("weights.pt")
AS_IT_IS = KeyMapping()


def fit(
    content: Mapping[str, Any],
    keys: KeyMapping = AS_IT_IS,
    target: torch.nn.Module | None = None,
) -> dict[str, torch.Tensor]:
    """Fill a network that begins otherwise, and give what it then holds."""
    target = target or network(seed=1)
    fit_state(content, keys, target, FILE, "Block")
    return target.state_dict()


def refusal(content: Mapping[str, Any], keys: KeyMapping = AS_IT_IS) -> str:
    """Give the sentence of the error, which must leave the network as it was."""
    target = network(seed=1)
    with pytest.raises(InputError) as caught:
        fit_state(content, keys, target, FILE, "Block")
    require_same(target.state_dict(), network(seed=1).state_dict())
    return str(caught.value)


def test_containers_prefixes_renamings_and_unused_tensors() -> None:
    state = network().state_dict()
    renamed = {f"module.model.{name.replace('head', 'fc')}": value for name, value in state.items()}
    checkpoint = {
        "epoch": 3,
        "nets": {"ema": {**renamed, "module.mean": torch.ones(3), "arch": "resnet50"}},
    }
    keys = KeyMapping(
        container=("nets", "ema"),
        prefix="module.model.",
        rename=((r"^fc\.", "neck."), (r"^neck\.", "head.")),
        unused=(r"module\.mean",),
    )
    require_same(fit(checkpoint, keys), state)


def test_the_network_computes_what_the_other_did() -> None:
    picture = torch.randn(2, 3, 6, 6)
    target = network(seed=1)
    before = target(picture)
    fit_state(network().state_dict(), KeyMapping(), target, FILE, "Block")
    assert torch.equal(target(picture), network()(picture))
    assert not torch.allclose(before, target(picture))
    assert all(parameter.requires_grad for parameter in target.parameters())


def test_weights_are_taken_over_and_not_copied() -> None:
    state, target = network().state_dict(), network(seed=1)
    fit_state(state, KeyMapping(), target, FILE, "Block")
    assert target.conv.weight.data_ptr() == state["conv.weight"].data_ptr()


def test_half_precision_becomes_the_type_of_the_module() -> None:
    state = network().half().state_dict()
    filled = fit(state)
    assert filled["conv.weight"].dtype == torch.float32
    assert torch.equal(filled["conv.weight"], state["conv.weight"].float())
    assert fit(state, target=network(1).half())["conv.weight"].dtype == torch.float16


def test_a_module_without_memory_is_filled() -> None:
    with torch.device("meta"):
        target = Block().eval()
    require_same(fit(network().state_dict(), target=target), network().state_dict())


def test_missing_left_over_and_misshapen_tensors_are_all_listed() -> None:
    state = network().state_dict()
    extra = {f"extra.{number}": torch.ones(1) for number in range(5)}
    del state["head.1.bias"]
    said = refusal({**state, "scale": torch.ones(2), **extra})
    assert "weights.pt does not fit Block" in said
    assert "it lacks head.1.bias" in said
    assert "no place for extra.0, extra.1, extra.2 and 2 more" in said
    assert "scale (2, float32) for scale (one value, float32)" in said
    del state["bn.num_batches_tracked"]
    assert "num_batches_tracked" not in refusal(state)


def test_only_what_is_named_may_be_absent_or_unused() -> None:
    state = network().state_dict()
    bias, counter = state.pop("head.1.bias"), state.pop("bn.num_batches_tracked")
    filled = fit(state, KeyMapping(absent=(r"head\.1\.bias",)))
    assert torch.equal(filled["head.1.bias"], network(1).state_dict()["head.1.bias"])
    assert "lacks head.1.bias" in refusal(state, KeyMapping(absent=("head",)))
    whole = {**state, "head.1.bias": bias, "bn.num_batches_tracked": counter, "fc.w": bias}
    assert "no place for fc.w" in refusal(whole, KeyMapping(unused=("fc",)))
    fit(whole, KeyMapping(unused=(r"fc\..*",)))


def test_a_tensor_without_the_prefix_has_no_place() -> None:
    state = {f"visual.{name}": value for name, value in network().state_dict().items()}
    keys = KeyMapping(prefix="visual.")
    require_same(fit(state, keys), network().state_dict())
    assert "no place for logit_scale" in refusal({**state, "logit_scale": torch.ones(1)}, keys)
    # A name that fits without the prefix is no substitute for one that has it.
    state["scale"] = state.pop("visual.scale")
    assert "lacks scale; it has no place for scale" in refusal(state, keys)


def test_two_tensors_for_one_name_are_an_error() -> None:
    state = {**network().state_dict(), "scale2": torch.tensor(1.0)}
    said = refusal(state, KeyMapping(rename=((r"scale2", "scale"),)))
    assert "several tensors for scale (scale, scale2)" in said


def test_a_missing_container_names_what_is_there() -> None:
    checkpoint = {"epoch": 1, "state_dict": {}, "optimizer": {}, "a": 1, "b": 2}
    said = refusal(checkpoint, KeyMapping(container=("model",)))
    assert "under 'model', but epoch, state_dict, optimizer and 2 more" in said
    assert "under 'epoch'" in refusal(checkpoint, KeyMapping(container=("epoch",)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    state = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    state["head.1.weight"][1, 2] = value
    assert "'head.1.weight' that is not finite" in refusal(state)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, dtype=torch.int8), torch.ones(2).to_sparse(), torch.ones(2, device="meta")],
)
def test_tensors_that_are_no_plain_numbers_do_not_fit(tensor: torch.Tensor) -> None:
    assert "head.1.bias" in refusal({**network().state_dict(), "head.1.bias": tensor})


def in_other_words(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the tensors by number, with nothing of the architecture's names but the last part."""
    return {
        f"layer{number}.{name.rpartition('.')[2]}": tensor
        for number, (name, tensor) in enumerate(state.items())
    }


def test_tensors_in_order_are_matched_by_place_shape_and_kind() -> None:
    state = network().state_dict()
    keys = KeyMapping(in_order=True)
    require_same(fit(in_other_words(state), keys), state)
    without = {name: value for name, value in state.items() if "num_batches" not in name}
    assert torch.equal(fit(in_other_words(without), keys)["conv.weight"], state["conv.weight"])
    fewer = dict(list(in_other_words(state).items())[1:])
    assert f"{len(state) - 1} tensors where Block has {len(state)}" in refusal(fewer, keys)
    # Weight and bias of a batch normalisation have one shape; only their kind tells them apart.
    names = list(state)
    first, second = names.index("bn.weight"), names.index("bn.bias")
    names[first], names[second] = names[second], names[first]
    swapped = in_other_words({name: state[name] for name in names})
    assert "bias (4, float32) where Block has bn.weight" in refusal(swapped, keys)


def test_kernels_of_jax_are_turned() -> None:
    state = network().state_dict()
    given = {
        "params": {
            "net/conv": {"w": state["conv.weight"].permute(2, 3, 1, 0)},
            "net/bn": {
                "scale": state["bn.weight"].reshape(1, 1, 1, 4),
                "offset": state["bn.bias"].reshape(1, 1, 1, 4),
            },
            "net/head": {"w": state["head.1.weight"].T, "b": state["head.1.bias"]},
            "net": {"scale": state["scale"]},
        },
        "state": {
            "net/bn/mean_ema": {"average": state["bn.running_mean"].reshape(1, 1, 1, 4)},
            "net/bn/var_ema": {"average": state["bn.running_var"].reshape(1, 1, 1, 4)},
            "net/bn/count": {"counter": torch.tensor(3)},
        },
    }
    keys = KeyMapping(
        rename=(
            (r"^(params|state)/net/", ""),
            (r"mean_ema/average", "running_mean"),
            (r"var_ema/average", "running_var"),
            (r"bn/scale", "bn/weight"),
            (r"bn/offset", "bn/bias"),
            (r"head/", "head/1/"),
            (r"/w$", "/weight"),
            (r"/b$", "/bias"),
            (r"/", "."),
        ),
        unused=(r".*/counter",),
        channels_last=True,
    )
    filled = fit(given, keys)
    assert filled["conv.weight"].is_contiguous()
    for name in set(state) - {"bn.num_batches_tracked"}:
        assert torch.equal(filled[name], state[name]), name
