"""What lies in the output folder from other runs of a subject, and is about to be replaced."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.workflows.sidecars import of_runs


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
        stem = f"{name}_task-{task}_space-MNI305_res-2_stat-effect_statmap"
        before = _sources(out_dir / name / "func" / f"{stem}.json")
        now = set(of_runs(subject))
        if before and before != now:
            yield (
                f"{name}: the betas of {len(before)} runs in {out_dir} are replaced by those of "
                f"{len(now)} runs ({len(before & now)} of them the same); to keep both, stop this "
                "run and choose another output folder"
            )


def _sources(sidecar: Path) -> set[str]:
    try:
        return set(map(str, json.loads(sidecar.read_text(encoding="utf-8")).get("Sources", [])))
    except (OSError, ValueError, AttributeError, TypeError):
        return set()
