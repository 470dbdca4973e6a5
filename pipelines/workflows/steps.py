"""nipype's nodes, with a record of what they did in place of nipype's own hash files.

nipype takes a step for done when a file named after its inputs is there; whether its outputs still
are what they were goes unnoticed, and inputs must be there to be looked at. These nodes go by
`conceptrsa.pipelines.workflows.records`: outputs are checked, and inputs that were removed are
still known.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nipype.interfaces.base import isdefined
from nipype.pipeline import engine as nipype

from conceptrsa.bids_config.errors import StepError
from conceptrsa.pipelines.workflows.records import (
    Record,
    files_in,
    fingerprint,
    forget,
    read_record,
    recorded_state,
    state_of,
    write_record,
)
from conceptrsa.pipelines.workflows.software import code_digest


class Node(nipype.Node):
    """A step that goes by its record.

    Attributes
    ----------
    again : bool
        Do it even if it is finished, as some output is needed that is no longer there.
    needs_outputs : bool
        Whether it counts as finished only with all its outputs whole; see
        `conceptrsa.pipelines.execution.resume`.
    """

    again = False
    needs_outputs = True
    _hashvalue: str | None
    _hashed_inputs: list[Any] | None

    def is_finished(self) -> bool:
        """Whether the step was done with these inputs."""
        record = None if self.again else read_record(self.output_dir())
        return (
            record is not None
            and record.result.is_kept_by(self.result_file())
            and record.inputs == self._get_hashval()[1]
            and (not self.needs_outputs or self.are_outputs_whole(record))
        )

    def are_outputs_whole(self, record: Record) -> bool:
        """Whether every file that the step wrote is as it was."""
        return all(state.is_kept_by(path) for path, state in record.files.items())

    def result_file(self) -> Path:
        """File in which nipype keeps the names of the outputs."""
        return Path(self.output_dir()) / f"result_{self.name}.pklz"

    def output_values(self) -> dict[str, Any]:
        """Outputs of a step that has ended."""
        outputs = self.result.outputs
        if outputs is None:
            return {}
        values = outputs.trait_get() if hasattr(outputs, "trait_get") else outputs.dictcopy()
        return {name: value for name, value in values.items() if isdefined(value)}

    def input_values(self) -> dict[str, Any]:
        """Inputs that are set and can change the outputs."""
        traits = self._interface.inputs
        return {
            name: value
            for name, value in self.inputs.trait_get().items()
            if isdefined(value) and not traits.has_metadata(name, "nohash", True)
        }

    def files_read(self) -> list[str]:
        """Files below folders in the inputs, as far as the interface tells which it reads.

        Folders are compared by their names, so what lies in them would go unnoticed.
        """
        of_interface = getattr(self._interface, "files_read", list)
        return [str(Path(path).absolute()) for path in of_interface()]

    def is_cached(self, rm_outdated: bool = False) -> tuple[bool, bool]:
        """Say whether the step is done with these inputs, as nipype's method does."""
        finished = self.is_finished()
        return finished, finished

    def _get_hashval(self) -> tuple[list[Any], str]:
        self._get_inputs()
        if self._hashvalue is None:
            values = self.input_values()
            self._hashvalue = fingerprint(
                {"inputs": values, "files": self.files_read(), "code": code_digest()}
            )
            self._hashed_inputs = sorted((name, repr(value)) for name, value in values.items())
        return self._hashed_inputs or [], self._hashvalue

    def run(self, updatehash: bool = False) -> Any:
        """Do the step, or give the result of before if it is finished.

        Raises
        ------
        StepError
            If an input is not what the step before had left.
        """
        if self.is_finished():
            return super().run(updatehash)
        self._require_inputs()
        forget(self.output_dir())
        result = super().run(updatehash)
        self.again = False
        self._keep_record()
        return result

    def _require_inputs(self) -> None:
        for path in files_in(self.input_values()):
            state = recorded_state(path)
            if state is not None and not state.is_kept_by(path):
                raise StepError(
                    f"{path} was removed or changed while it was needed; run the same command again"
                )

    def _keep_record(self) -> None:
        own = Path(self.output_dir())
        files = {
            path: state_of(path)
            for path in files_in(self.output_values())
            if Path(path).is_file() and self._wrote(Path(path))
        }
        write_record(own, Record(self._get_hashval()[1], state_of(self.result_file()), files))

    def _wrote(self, path: Path) -> bool:
        """Files elsewhere, without a record of another step, are results of this one."""
        return Path(self.output_dir()) in path.parents or recorded_state(path) is None


class MapNode(nipype.MapNode, Node):
    """A step that is done once for each item of its inputs, each with a record of its own."""

    def input_values(self) -> dict[str, Any]:
        """Inputs that are set and can change the outputs."""
        self._check_iterfield()
        values = super().input_values()
        shared = self._interface.inputs
        others = set(shared.copyable_trait_names()) - set(self.iterfield)
        for name in others & set(values):
            values[name] = getattr(shared, name)
        return values

    def _get_hashval(self) -> tuple[list[Any], str]:
        return Node._get_hashval(self)

    def _make_nodes(self, cwd: str | None = None) -> Iterator[tuple[int, Node]]:
        for index, node in super()._make_nodes(cwd):
            # nipype has no other way to choose the class of the nodes it makes here.
            node.__class__ = Node
            node.needs_outputs = self.needs_outputs
            yield index, node

    def _require_inputs(self) -> None:
        """Only collects what its nodes did; each of them looks at its own inputs."""

    def _wrote(self, path: Path) -> bool:
        return Path(self.output_dir()) / "mapflow" not in path.parents and super()._wrote(path)
