"""Pickles read as data: nothing that a pickle names is imported, and nothing of it is called.

A pickle is a program: it names functions of any module and calls them. Here the names that
checkpoints are made of stand for functions of this module, which make dictionaries and tensors.
Names that occur beside the tensors of true checkpoints stand for `Unneeded`, which takes anything
and does nothing. Every other name is refused.
"""

import mmap
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = Callable[[str, torch.dtype, int], Tensor]
"""Gives the numbers of tensors that lie outside the pickle, by their key, type and count."""


class ForbiddenName(Exception):
    """A pickle asks for something that no checkpoint needs; the message is its full name."""


def mapped(file: Path) -> mmap.mmap:
    """Open a file for reading such that it gives what it has, whatever length is asked for.

    Python's files set the length aside first, and a pickle may claim any.
    """
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


class Unneeded:
    """An object that no tensor depends on."""

    def __new__(cls, *arguments: Any, **named: Any) -> "Unneeded":
        """Take any arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take any state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take any item."""

    def append(self, value: Any) -> None:
        """Take an item of a list or set."""

    add = append


class _NumberType(Unneeded):
    """A `numpy.dtype`."""

    def __init__(self, code: Any = "", *others: Any) -> None:
        self._code, self._byte_order = code, "="

    def __setstate__(self, state: Any) -> None:
        self._byte_order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        byte_order = self._byte_order
        if not re.fullmatch("[biuf][1248]", str(self._code)) or byte_order not in tuple("<>=|"):
            raise ValueError("an array holds something other than numbers")
        return np.dtype(f"{byte_order}{self._code}")


class _ModuleName(Unneeded):
    """A module that dill names, of which it takes an attribute later."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Mapping:
    """An ordered, counting, default or frozen dictionary, which becomes a plain one."""

    def __new__(cls, first: Any = (), *others: Any) -> Any:
        # A default dictionary's argument is what makes values.
        return dict(first) if isinstance(first, dict | list | tuple) else {}


class _Attributes(dict[str, Any]):
    """The attributes of a TorchScript object, with its submodules as dictionaries within."""

    def __setstate__(self, state: Any) -> None:
        self.update(state)


class InertUnpickler(pickle._Unpickler):
    """Reads one pickle into plain containers, numbers, texts and tensors.

    It builds on Python's own reader in Python, as the one in C sets aside memory for whatever
    number of objects a file claims to hold.

    Parameters
    ----------
    stream : binary file or mmap
        Stands at the beginning of the pickle.
    numbers : callable, optional
        Where the file holds numbers outside the pickle.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, stream: IO[bytes] | mmap.mmap, numbers: Numbers | None = None) -> None:
        # Python 2 wrote bytes as text; latin1 gives every byte back.
        super().__init__(stream, encoding="latin1")
        self._numbers = numbers

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for a name, whatever the program has under it."""
        full_name = f"{module}.{name}"
        if re.fullmatch(_DILL + "_get_attr", full_name):
            return self._attribute
        for pattern, stand_in in _STAND_INS.items():
            if re.fullmatch(pattern, full_name):
                return stand_in
        raise ForbiddenName(full_name)

    def _attribute(self, owner: Any, attribute: str) -> Any:
        """Give what stands for `module.attribute`, as dill names functions written in C."""
        if not isinstance(owner, _ModuleName):
            raise ForbiddenName(f"the attribute {attribute} of an object")
        return self.find_class(owner.name, attribute)

    def persistent_load(self, pid: Any) -> Tensor:
        """Give the numbers that a persistent id points to: word, type, key, device, count."""
        if self._numbers is None:
            raise pickle.UnpicklingError("it points to data outside itself")
        word, dtype, key, _device, count = pid[:5]
        if word != "storage" or not isinstance(dtype, torch.dtype) or any(pid[5:]):
            raise ValueError("it points to something other than a tensor's numbers")
        return self._numbers(str(key), dtype, count)

    def get_extension(self, code: int) -> None:
        """Refuse codes that stand for names: what they mean depends on the running program."""
        raise ForbiddenName(f"extension {code}")

    def load_build(self) -> None:
        """Put a state into an object that was made here, and into nothing else."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Tensor):
            _fill_array(target, state)
        elif isinstance(target, Unneeded | _Attributes):
            target.__setstate__(state)
        # State dictionaries of torch have versions of their modules as an attribute.
        elif not isinstance(target, dict):
            raise ForbiddenName(f"the state of a {type(target).__name__}")

    def load_bytearray8(self) -> None:
        """Read a byte array without setting aside the length that it claims."""
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _encoded(text: str, encoding: str) -> bytes:
    """Make bytes that were written as text, as pickles that Python 2 can read have them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes are written as {encoding}")
    return bytes(text, "latin1")


def _empty_array(*arguments: Any) -> Tensor:
    """Make an array of numpy's `_reconstruct`, whose numbers come with its state."""
    return torch.empty(0)


def _fill_array(array: Tensor, state: Any) -> None:
    _, shape, dtype, is_fortran, data = state
    array.data = _array(data, dtype, shape, "F" if is_fortran else "C")


def _wrapped_array(call: Any, arguments: Any, state: Any, *others: Any) -> Tensor:
    """Make an array as JAX and dill write one: numpy's function, its arguments and the state."""
    array = call(*arguments)
    if not isinstance(array, Tensor):
        raise ValueError("an array is not built as numpy builds one")
    _fill_array(array, state)
    return array


def _array(data: Any, number_type: Any, shape: Any, order: Any = "C", *others: Any) -> Tensor:
    if not isinstance(data, bytes | bytearray) or not isinstance(number_type, _NumberType):
        raise ValueError("an array holds Python objects instead of numbers")
    values: NDArray[Any] = np.frombuffer(data, number_type.dtype)
    native = values.astype(values.dtype.newbyteorder("="))
    return torch.from_numpy(native.reshape(shape, order=order))


def _strided(numbers: Tensor, offset: int, size: Any, stride: Any, *others: Any) -> Tensor:
    """Make a view of a run of numbers; torch would let it reach into the file around them."""
    steps = [(count - 1) * step for count, step in zip(size, stride, strict=True)]
    last = offset + sum(steps) if all(size) else 0
    if min(offset, *size, *stride, 0) < 0 or (last >= numbers.numel() and all(size)):
        raise ValueError("a tensor reaches beyond its numbers")
    return numbers.as_strided(tuple(size), tuple(stride), numbers.storage_offset() + offset)


def _parameter(tensor: Tensor, *others: Any) -> Tensor:
    return tensor


_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
_DILL = r"dill\._?dill\."
_NUMPY = r"numpy\.(core|_core)\.(multiarray|_multiarray_umath)\."
_UNNEEDED = (
    r"numpy\.ndarray",
    # Learning rates and accuracies are often numpy's numbers.
    _NUMPY + "scalar",
    r"(builtins|__builtin__)\.(set|frozenset|complex|bytearray|slice)",
    # The command line that trained the network.
    r"argparse\.Namespace",
    # The dill of the robustness models (0.2.9) writes out functions, such as the schedule of a
    # learning rate, with the modules, the optimizer and the schedule that they refer to.
    rf"{_DILL}_(create_function|create_cell)",
    r"__builtin__\.__main__|[\w.]+\.__dict__",
    r"torch\.optim\.\w+(\.\w+)?",
    r"torch\.(Size|Tensor|device|dtype|float\d+|int\d+|uint8|bool|bfloat16)",
    r"torch\.jit\._pickle\.(build_\w+list|restore_type_tag)",
)
_STAND_INS: Mapping[str, Any] = {
    r"collections\.(OrderedDict|Counter|defaultdict)": _Mapping,
    r"haiku\._src\.data_structures\.(FlatMapping|FlatMap|frozendict|FrozenDict)": _Mapping,
    r"_codecs\.encode": _encoded,
    r"numpy\.dtype": _NumberType,
    _NUMPY + "_reconstruct": _empty_array,
    r"numpy\.(core|_core)\.numeric\._frombuffer": _array,
    r"jax\._src\.(array|device_array)\._reconstruct(_device)?_array": _wrapped_array,
    r"dill\._dill\._create_array": _wrapped_array,
    _DILL + "_import_module": _ModuleName,
    _DILL + "_load_type": lambda name: Unneeded,
    r"torch\._utils\._rebuild_tensor(_v2)?": _strided,
    r"torch\._utils\._rebuild_parameter(_with_state)?": _parameter,
    r"torch\.nn\.parameter\.Parameter": _parameter,
    r"__torch__\..+": _Attributes,
    **{rf"torch\.(cuda\.)?{name}Storage": dtype for name, dtype in _DTYPES.items()},
    **dict.fromkeys(_UNNEEDED, Unneeded),
}
"""Replacements of functions and classes in a pickle, by full name (`re.fullmatch`)."""
