"""What all steps share: outputs that are written into the step's own folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, File, InputMultiObject, SimpleInterface, traits


class Step(SimpleInterface):
    """A nipype interface that does its work in `_run_in`."""

    def _run_in(self, folder: Path) -> Mapping[str, Path | list[Path]]:
        """Do the work in the step's own folder; give the path of each output by its name.

        Every step overrides this.
        """
        raise NotImplementedError

    def _run_interface(self, runtime: Any) -> Any:
        self._results.update(self._run_in(Path(runtime.cwd)))
        return runtime


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


def file_out(desc: str) -> Any:
    """A file that a step writes."""
    return File(exists=True, desc=desc)


def files_out(desc: str) -> Any:
    """Files that a step writes; a list also where it is one."""
    return traits.List(File(exists=True), desc=desc)
