"""Pickles read as data: what one asks to be called is kept as a note, and never called.

A pickle is a program: it names functions of any module and calls them. Here a name becomes an
empty class of its own and a call an instance that remembers the arguments, so that reading
imports nothing and runs nothing. `Evaluation` then turns the few calls that checkpoints are made
of (arrays, dictionaries) into values, by code of its own; all others stay notes.
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

_DILL = r"dill\._?dill\."
_NUMPY = r"numpy\.(core|_core)\.(multiarray|_multiarray_umath)\."
Rebuild = Callable[["Evaluation", "Note"], Any]


class ForbiddenName(Exception):
    """A pickle asks for something that no checkpoint needs; the message is its full name."""


def mapped(file: Path) -> mmap.mmap:
    """Open a file for reading such that it gives what it has, whatever length is asked for.

    Python's files set the length aside first, and a pickle may claim any.
    """
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


class Note:
    """A call that a pickle asks for, with all that it puts into the result.

    Attributes
    ----------
    name : str
        Full name of the function or class, the same for all instances of a subclass.
    arguments : tuple
        What it would be called with.
    state : object
        What the result's `__setstate__` would get.
    items : dict
        What would be set in the result by key.
    """

    name: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]

    def __new__(cls, *arguments: Any, **named: Any) -> "Note":
        """Remember the arguments; named ones are of no use to a checkpoint."""
        note = super().__new__(cls)
        note.arguments, note.state, note.items = arguments, None, {}
        return note

    def __call__(self, *arguments: Any) -> "Note":
        """Note a call of the result, which only dill's types of functions need."""
        if not re.fullmatch(_DILL + "_load_type", self.name):
            raise ForbiddenName(f"a call of what {self.name or 'a call'} gives")
        return Note(self, *arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list or set, which no checkpoint needs."""

    add = append


class InertUnpickler(pickle._Unpickler):
    """Reads one pickle into plain containers, numbers, texts and `Note`s.

    It builds on Python's own reader in Python, as the one in C sets aside memory for whatever
    number of objects a file claims to hold.

    Parameters
    ----------
    stream : binary file or mmap
        Stands at the beginning of the pickle.
    allowed : callable
        Whether a full name may occur.
    persistent : callable, optional
        From a persistent id to what stands for it.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self,
        stream: IO[bytes] | mmap.mmap,
        allowed: Callable[[str], bool],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        # Python 2 wrote bytes as text; latin1 gives every byte back.
        super().__init__(stream, encoding="latin1")
        self._allowed = allowed
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        """Give a new class of notes, so that nothing is shared with the program or other reads."""
        full_name = f"{module}.{name}"
        if not self._allowed(full_name):
            raise ForbiddenName(full_name)
        members: dict[str, Any] = {"name": full_name}
        if re.fullmatch(_DILL + "_get_attr", full_name):
            members["__new__"] = lambda _, owner, attribute: self._attribute(owner, attribute)
        return type("Note", (Note,), members)

    def _attribute(self, owner: Any, attribute: str) -> Any:
        """Give the notes for `module.attribute`, as dill names functions written in C."""
        if not isinstance(owner, Note) or not re.fullmatch(_DILL + "_import_module", owner.name):
            raise ForbiddenName(f"the attribute {attribute} of an object")
        return self.find_class(owner.arguments[0], attribute)

    def persistent_load(self, pid: Any) -> Any:
        """Give what stands for an object that is stored outside the pickle."""
        if self._persistent is None:
            raise pickle.UnpicklingError("it points to data outside itself")
        return self._persistent(pid)

    def get_extension(self, code: int) -> None:
        """Refuse codes that stand for names: what they mean depends on the running program."""
        raise ForbiddenName(f"extension {code}")

    def load_bytearray8(self) -> None:
        """Read a byte array without setting aside the length that it claims."""
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


class Evaluation:
    """From what `InertUnpickler` read to values.

    Parameters
    ----------
    rebuild : mapping of str to callable
        By full name (`re.fullmatch`), how the value of a note is made; notes of other names stay.
    """

    def __init__(self, rebuild: Mapping[str, Rebuild]) -> None:
        self._rebuild = [(re.compile(pattern), make) for pattern, make in rebuild.items()]
        self._values: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """Evaluate a value and all that it holds, each object once.

        Raises
        ------
        ValueError
            An object holds itself.
        """
        if not isinstance(value, Note | dict | list | tuple):
            return value
        if id(value) not in self._values:
            self._values[id(value)] = (value, _UNDER_WAY)
            self._values[id(value)] = (value, self._evaluate(value))
        result = self._values[id(value)][1]
        if result is _UNDER_WAY:
            raise ValueError("an object holds itself")
        return result

    def _evaluate(self, value: Note | dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self(item) for item in value)
        for pattern, make in self._rebuild:
            if pattern.fullmatch(value.name):
                return make(self, value)
        return value


_UNDER_WAY = object()


def rebuild_mapping(evaluate: Evaluation, note: Note) -> dict[Any, Any]:
    """Make a dictionary of an ordered, counting, default or frozen one."""
    first = note.arguments[0] if note.arguments else {}
    given = evaluate(first) if isinstance(first, Note | dict | list | tuple) else {}
    # A default dictionary's argument is a function that makes values.
    return {**(dict(given) if not isinstance(given, Note) else {}), **evaluate(note.items)}


def rebuild_bytes(evaluate: Evaluation, note: Note) -> bytes:
    """Make bytes that were written as text, as pickles that Python 2 can read have them."""
    text, encoding = note.arguments
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes are written as {encoding}")
    return bytes(text, "latin1")


def rebuild_array(evaluate: Evaluation, note: Note) -> torch.Tensor:
    """Make a tensor of numpy's `_reconstruct` and the state that follows it."""
    _, shape, dtype, is_fortran, data = note.state
    note.state = None  # The bytes are not needed beside the tensor.
    return _tensor(evaluate(data), dtype, shape, "F" if is_fortran else "C")


def rebuild_array_from_buffer(evaluate: Evaluation, note: Note) -> torch.Tensor:
    """Make a tensor of numpy's `_frombuffer`."""
    data, dtype, shape, order = note.arguments[:4]
    note.arguments = ()
    return _tensor(evaluate(data), dtype, shape, order)


def rebuild_wrapped_array(evaluate: Evaluation, note: Note) -> Any:
    """Make a tensor as JAX and dill write one: numpy's function, its arguments and the state."""
    call, arguments, state = note.arguments[:3]
    note.arguments = ()
    inner = call(*arguments)
    if not isinstance(inner, Note):
        raise ValueError("an array is not built as numpy builds one")
    inner.state = state
    return evaluate(inner)


def _tensor(data: Any, dtype: Any, shape: Any, order: Any) -> torch.Tensor:
    if not isinstance(data, bytes | bytearray):
        raise ValueError("an array holds Python objects instead of numbers")
    values: NDArray[Any] = np.frombuffer(data, _numeric_dtype(dtype))
    native = values.astype(values.dtype.newbyteorder("="))
    return torch.from_numpy(native.reshape(shape, order=order))


def _numeric_dtype(note: Any) -> np.dtype[Any]:
    code = note.arguments[0] if isinstance(note, Note) and note.arguments else ""
    byte_order = note.state[1] if isinstance(note, Note) and note.state else "="
    if not re.fullmatch("[biuf][1248]", str(code)) or byte_order not in ("<", ">", "=", "|"):
        raise ValueError("an array holds something else than numbers")
    return np.dtype(f"{byte_order}{code}")


ARRAYS_AND_MAPPINGS: Mapping[str, Rebuild] = {
    r"collections\.(OrderedDict|Counter|defaultdict)": rebuild_mapping,
    r"haiku\._src\.data_structures\.(FlatMapping|FlatMap|frozendict|FrozenDict)": rebuild_mapping,
    r"_codecs\.encode": rebuild_bytes,
    _NUMPY + "_reconstruct": rebuild_array,
    r"numpy\.(core|_core)\.numeric\._frombuffer": rebuild_array_from_buffer,
    r"jax\._src\.(array|device_array)\._reconstruct(_device)?_array": rebuild_wrapped_array,
    r"dill\._dill\._create_array": rebuild_wrapped_array,
}
"""How values are made that pickles of any library may hold."""

HARMLESS = (
    r"numpy\.(dtype|ndarray)",
    # Learning rates and accuracies are often numpy's numbers.
    _NUMPY + "scalar",
    r"(builtins|__builtin__)\.(set|frozenset|complex|bytearray|slice)",
    # The command line that trained the network.
    r"argparse\.Namespace",
    # The dill of the robustness models (0.2.9) writes out functions, such as the schedule of a
    # learning rate, with the modules that they refer to.
    rf"{_DILL}_(create_function|create_cell|load_type|import_module|get_attr)",
    r"__builtin__\.__main__|[\w.]+\.__dict__",
)
"""Names that occur in true checkpoints beside the tensors; they stay notes, whose results cannot
be called."""
