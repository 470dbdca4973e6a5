"""Base of all steps: inputs and outputs are fields, and outputs are written into their folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from numpy.typing import NDArray

from conceptrsa.bids_config.writing import write_json
from conceptrsa.interfaces.numerics.transforms import write_matrix


class Step(SimpleInterface):
    """A nipype interface that does its work in `_run_in`.

    Its class names the inputs and then the outputs (`file_out` and the like). nipype's two
    specifications are made of these and of those of the classes that it is derived from.
    """

    input_spec: ClassVar[Any] = BaseInterfaceInputSpec
    output_spec: ClassVar[Any] = TraitedSpec

    def __init_subclass__(cls) -> None:
        """Move the fields of the class into its specifications."""
        super().__init_subclass__()
        for key, own in vars(cls).items():
            if isinstance(own, type) and issubclass(own, traits.TraitType):
                raise TypeError(f"{cls.__name__}.{key} is a class: write {own.__name__}()")
        fields = {key: own for key, own in vars(cls).items() if isinstance(own, traits.TraitType)}
        outputs = {key for key, field in fields.items() if field.as_ctrait().is_output}
        for spec, names in (("input_spec", fields.keys() - outputs), ("output_spec", outputs)):
            bases = tuple(getattr(base, spec) for base in cls.__bases__)
            own = {key: field for key, field in fields.items() if key in names}
            # By these names another process finds the class of what it is sent.
            place = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.{spec}"}
            made = type(bases[0])(f"{cls.__name__}.{spec}", bases, {**own, **place})
            setattr(cls, spec, made)
        for key in fields:
            delattr(cls, key)

    def _run_in(self, folder: Path) -> Mapping[str, Path | list[Path]]:
        """Do the work in the step's own folder; give the path of each output by its name.

        Every step overrides this.
        """
        raise NotImplementedError

    def _run_interface(self, runtime: Any) -> Any:
        self._results.update(self._run_in(Path(runtime.cwd)))
        return runtime


def write_transform(
    folder: Path, name: str, matrix: NDArray[np.float64], report: object
) -> dict[str, Path]:
    """Write a 4x4 matrix and the evidence for it; give `transform_file` and `report_file`."""
    paths = {"transform_file": folder / f"{name}.txt", "report_file": folder / f"{name}.json"}
    write_matrix(paths["transform_file"], matrix)
    write_json(paths["report_file"], report)
    return paths


def file_in(desc: str) -> Any:
    """An existing file that a step needs."""
    return File(exists=True, mandatory=True, desc=desc)


def files_in(desc: str) -> Any:
    """Existing files that a step needs, one or more."""
    return InputMultiObject(File(exists=True), mandatory=True, desc=desc)


def optional_file(desc: str) -> Any:
    """An existing file that a step takes where it is given."""
    return File(exists=True, desc=desc)


def optional_files(desc: str) -> Any:
    """Existing files that a step takes where they are given."""
    return InputMultiObject(File(exists=True), desc=desc)


def optional_folder(desc: str) -> Any:
    """A folder that a step reads where it is given; it goes by its name."""
    return Directory(desc=desc)


def file_out(desc: str, exists: bool = True) -> Any:
    """A file that a step writes.

    `exists`: False for a file that may be absent, or lies outside the step's folder.
    """
    return File(exists=exists, desc=desc, is_output=True)


def files_out(desc: str, exists: bool = True) -> Any:
    """Files that a step writes; a list also where it is one. `exists` as of `file_out`."""
    return traits.List(File(exists=exists), desc=desc, is_output=True)


def folder_out(desc: str) -> Any:
    """A folder that a step leaves."""
    return Directory(exists=True, desc=desc, is_output=True)
