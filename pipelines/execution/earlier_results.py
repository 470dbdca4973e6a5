"""Check results of earlier runs in the output folder, and their configuration."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.recorded import (
    RECORD,
    SECTIONS,
    difference,
    read_recorded,
    require_recorded,
)
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.sidecars import of_runs


def shared_config(
    config: DatasetConfig, options: ParticipantOptions, subjects: Sequence[SubjectInputs] = ()
) -> DatasetConfig:
    """Give what all subjects of a folder share; derivatives of several tasks may lie there.

    The space is that in which the runs are there, be it chosen or the only one.
    """
    configured = options.configured(config)
    space = configured.runs.space
    if subjects:
        found = subjects[0].standard_space
        space = None if found is None else str(found)
    runs = replace(config.runs, space=space)
    return replace(config, runs=runs, glm=configured.glm, atlas=configured.atlas)


def subjects_in(out_dir: Path) -> set[str]:
    """Names of subjects; of those that another run is at, there may be no more than the lock."""
    found = (re.search(r"sub-[^._]+", path.name) for path in out_dir.glob("*sub-*"))
    return {name[0] for name in found if name is not None}


def require_own_config(out_dir: Path, config: DatasetConfig, options: ParticipantOptions) -> str:
    """Refuse a configuration other than that of the subjects in the output folder.

    Where it is forced, give what differs.

    Raises
    ------
    InputError
    """
    if not subjects_in(out_dir):
        return ""
    sentence = require_recorded(config, out_dir, SECTIONS, options.force_config)
    if sentence:
        warn_once(f"{sentence}: subjects that are not run again keep their earlier results")
    recorded = read_recorded(out_dir)
    if recorded is None:
        warn_once(
            f"{out_dir} holds subjects but no {RECORD}: they are assumed to have the same data set "
            "configuration"
        )
        return ""
    return difference(recorded, config)


def notes_on_other_runs(
    out_dir: Path, subjects: Iterable[SubjectInputs], task: str
) -> Iterator[str]:
    """Give a sentence for each subject whose betas in the output folder are of other runs.

    Names of betas do not tell the runs, so that those of another session would go unnoticed.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subjects : iterable of SubjectInputs
        As they are to be run.
    task : str
        BIDS task label.
    """
    for subject in subjects:
        name = f"sub-{subject.subject}"
        stem = f"{name}_task-{task}_{subject.space.entities}_stat-effect_statmap"
        before = _sources(out_dir / name / "func" / f"{stem}.json")
        now = set(of_runs(subject))
        if before and before != now:
            yield (
                f"{name}: the betas of {len(before)} runs in {out_dir} are replaced by those of "
                f"{len(now)} runs ({len(before & now)} in common); to keep both, stop now and "
                "choose another output folder"
            )


def _sources(sidecar: Path) -> set[str]:
    try:
        return set(map(str, json.loads(sidecar.read_text(encoding="utf-8")).get("Sources", [])))
    except (OSError, ValueError, AttributeError, TypeError):
        return set()
