"""Decide which finished steps must be repeated, before a run is started again.

A step whose record is whole is finished. It is done again only if a file of its outputs is absent
(damaged, deleted or removed to save disk) and something that is still to be done takes that file.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

from nipype.pipeline.engine.utils import topological_sort

from conceptrsa.bids_config.writing import empty_file
from conceptrsa.pipelines.workflows.records import (
    files_in,
    forget,
    read_record,
    recorded_state,
)
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import connections


def prepare(graph: Any, work_dir: Path) -> list[Node]:
    """Mark the finished steps of a graph that must be done again.

    Parameters
    ----------
    graph : networkx.DiGraph
        nipype's graph of what is executed; its nodes get `again` set.
    work_dir : Path
        Intermediate files lie below; everything else that a step wrote is a result, and needed.

    Returns
    -------
    list of Node
        Steps that are to be done, as far as that can be told before.
    """
    steps, _ = topological_sort(graph)
    finished: dict[Any, dict[str, Any]] = {}
    for step in steps:
        if isinstance(step, Node) and all(other in finished for other in graph.pred[step]):
            outputs = _outputs_if_finished(step, work_dir)
            if outputs is not None:
                finished[step] = outputs
                step.needs_outputs = False
    needed: set[str] = set()
    to_do = []
    for step in reversed(steps):
        if not isinstance(step, Node):
            continue
        if step in finished:
            lost = _absent(step, finished[step])
            wanted = {path for path in lost if path in needed or not _is_below(work_dir, path)}
            _forget_parts(step, wanted)
            if not wanted and not _unfinished_parts(step):
                continue
            step.again = True
        to_do.append(step)
        needed |= _files_to_take(step, graph, finished)
    return to_do


def _outputs_if_finished(step: Node, work_dir: Path) -> dict[str, Any] | None:
    """Outputs of a finished step; None for others. The step itself is not touched."""
    _stand_in_for_deleted(step, work_dir)
    looked_at = deepcopy(step)
    looked_at.needs_outputs = False
    try:
        return looked_at.output_values() if looked_at.is_finished() else None
    except Exception:  # whatever a damaged file makes nipype or pickle raise
        forget(step.output_dir())
        return None


def _stand_in_for_deleted(step: Node, work_dir: Path) -> None:
    """Put empty files where files were deleted: nipype refuses names of files that are not there.

    They do not fit the record, and so still count as absent.
    """
    own = Path(step.output_dir())
    for folder in (own, *own.glob("mapflow/*")):
        record = read_record(folder)
        for path in () if record is None else record.files:
            if _is_below(work_dir, path) and not Path(path).exists():
                empty_file(path)


def _absent(step: Node, outputs: dict[str, Any]) -> set[str]:
    """Files that a step wrote; what it only passes on is looked at where it was written."""
    record = read_record(step.output_dir())
    own = {} if record is None else record.files
    written = {path for path in files_in(outputs) if _is_below(Path(step.output_dir()), path)}
    absent = set()
    for path in {*written, *own}:
        state = own.get(path) or recorded_state(path)
        if state is None or not state.is_kept_by(path):
            absent.add(path)
    return absent


def _forget_parts(step: Node, wanted: set[str]) -> None:
    """Have those nodes of a MapNode done again whose files are wanted."""
    if isinstance(step, MapNode):
        for folder in Path(step.output_dir()).glob("mapflow/*"):
            record = read_record(folder)
            if record is not None and wanted & set(record.files):
                forget(folder)


def _files_to_take(step: Node, graph: Any, finished: dict[Any, dict[str, Any]]) -> set[str]:
    """Files that a step to be done takes from finished ones."""
    before = graph.pred[step]
    if isinstance(step, MapNode) and all(other in finished for other in before):
        return {path for part in _unfinished_parts(step) for path in files_in(part.input_values())}
    return {
        path
        for other in before
        if other in finished
        for output, _ in connections(graph.edges[other, step])
        for path in files_in(finished[other].get(output))
    }


def _unfinished_parts(step: Node) -> list[Node]:
    if not isinstance(step, MapNode):
        return []
    parts = deepcopy(step).get_subnodes()
    unfinished = []
    for part in parts:
        if not part.is_finished():
            forget(part.output_dir())
            unfinished.append(part)
    return unfinished


def _is_below(folder: Path, path: str) -> bool:
    return folder in Path(path).parents
