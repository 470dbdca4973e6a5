"""Removing intermediate files as soon as no step that is still to be done takes them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.base import DistributedPluginBase

from conceptrsa.bids_config.writing import empty_file
from conceptrsa.pipelines.execution.resume import prepare
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.records import files_in
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import connections

log = logging.getLogger(__name__)
KEPT_BYTES = 1 << 16
"""Smaller files stay: they are no burden, and a run started again may do with them."""


class TidyingPlugin(DistributedPluginBase):
    """Part of a nipype plugin that continues from records and removes files no longer needed.

    It is mixed into a plugin that executes nodes, before it among the bases. Attributes are set
    by `start_from`; without it the plugin removes nothing.
    """

    _work_dir: Path | None = None
    _keeps_all = True
    _jobs: dict[int, int]

    def start_from(
        self,
        work_dir: Path,
        keep_work: bool,
        before_start: Callable[[Collection[Node]], None] = lambda steps: None,
    ) -> None:
        """Say where intermediate files lie, whether they stay, and who is told what is to do."""
        self._work_dir = work_dir.resolve()
        self._keeps_all = keep_work
        self._before_start = before_start

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Find what is to be done again, then execute the graph."""
        if self._work_dir is not None:
            self._before_start(prepare(graph, self._work_dir))
        self._graph = graph
        self._subjects: dict[str, int] = {}
        self._finished: set[int] = set()
        self._givers: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self._parts: dict[int, list[int]] = defaultdict(list)
        self._taken: dict[int, frozenset[str]] = {}
        super().run(graph, config, updatehash)

    def _generate_dependency_list(self, graph: Any) -> None:
        super()._generate_dependency_list(graph)
        self._jobs = {id(step): job for job, step in enumerate(self.procs)}

    def _submit_mapnode(self, jobid: int) -> bool:
        is_expanded: bool = super()._submit_mapnode(jobid)
        if not is_expanded:
            for part, whole in self.mapnodesubids.items():
                if whole == jobid and part < len(self.procs):
                    self._parts[jobid].append(part)
        return is_expanded

    def _sort_jobs(self, jobids: Any, scheduler: str | None = None) -> list[int]:
        """Subject after subject, so that few have intermediate files at a time."""
        return sorted(jobids, key=lambda job: (self._place_of_subject(job), job))

    def _place_of_subject(self, jobid: int) -> int:
        subject = software.subject_of(self.procs[self.mapnodesubids.get(jobid, jobid)])
        return self._subjects.setdefault(subject, len(self._subjects))

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        super()._task_finished_cb(jobid, cached)
        step = self.procs[jobid]
        if self._keeps_all or not isinstance(step, Node):
            return
        self._finished.add(jobid)
        try:
            self._remove_used_up(jobid, step)
        except Exception as error:
            # Whatever it is that keeps a file from being removed, the results do not need it.
            log.warning("intermediate files of %s were not removed (%s)", step.name, error)

    def unfinished(self) -> list[Any]:
        """Steps that were neither done nor given up, after the run; none if it never began."""
        if not self.procs:
            return []
        left = ~self.proc_done | self.proc_pending
        return [step for step, is_left in zip(self.procs, left, strict=True) if is_left]

    def _remove_used_up(self, jobid: int, step: Node) -> None:
        candidates = set(self._files_taken(jobid))
        if jobid not in self.mapnodesubids:
            for output, value in step.output_values().items():
                for path in files_in(value):
                    self._givers[path].add((jobid, output))
                    candidates.add(path)
        for path in candidates:
            if self._is_used_up(path):
                _remove(Path(path))

    def _files_taken(self, jobid: int) -> frozenset[str]:
        if jobid not in self._taken:
            step = self.procs[jobid]
            step._get_inputs()
            self._taken[jobid] = frozenset(files_in(step.input_values()))
        return self._taken[jobid]

    def _is_used_up(self, path: str) -> bool:
        """Whether a file is an intermediate one that nothing to be done takes."""
        givers = self._givers.get(path)
        return (
            bool(givers)
            and self._work_dir is not None
            and self._work_dir in Path(path).parents
            and not any(
                self._still_takes(taker, path)
                for giver, output in givers or ()
                for taker in self._takers(giver, output)
            )
        )

    def _takers(self, giver: int, output: str) -> Iterator[int]:
        step = self.procs[giver]
        for other in self._graph.succ[step]:
            if any(name == output for name, _ in connections(self._graph.edges[step, other])):
                yield self._jobs[id(other)]

    def _still_takes(self, taker: int, path: str) -> bool:
        if taker in self._finished:
            return False
        parts = self._parts.get(taker)
        if not parts or not isinstance(self.procs[taker], MapNode):
            return True
        return any(part not in self._finished and path in self._files_taken(part) for part in parts)


def _remove(path: Path) -> None:
    """Leave an empty file: nipype refuses to name, among inputs, files that are not there."""
    if path.is_file() and path.stat().st_size > KEPT_BYTES:
        empty_file(path)
