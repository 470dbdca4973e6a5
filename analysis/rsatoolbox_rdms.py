"""RDMs to and from rsatoolbox, which is only needed when one of these functions is called."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.patterns import SubjectRdms
from conceptrsa.analysis.files.rdm_files import reorder
from conceptrsa.analysis.library import Comparison
from conceptrsa.analysis.models.feature_files import DEFAULT_GROUP, ModelRdm
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    clean_name,
    require_distinct,
    require_names,
    stimulus_ids,
)

if TYPE_CHECKING:
    from rsatoolbox.rdm import RDMs

STIMULUS_NAMES = ("stimulus", "stimuli", "conds", "cond", "condition", "conditions")
"""Names of pattern descriptors with the stimuli, in rsatoolbox's examples and here."""

UNKNOWN = ("", "None", "nan", "n/a")
"""Names of subjects that stand for none."""

Rows = list[tuple[dict[str, str], Floats]]


def to_rsatoolbox(rdms: Comparison | Sequence[SubjectRdms] | Sequence[ModelRdm]) -> "RDMs":
    """Make an `RDMs` object of rsatoolbox.

    Parameters
    ----------
    rdms : Comparison, or sequence of SubjectRdms or ModelRdm

    Returns
    -------
    rsatoolbox.rdm.RDMs
        Pattern descriptor `stimulus`; RDM descriptors `kind` ('brain' or 'model'), `subject` and
        `roi`, `model` and `group`, empty where they do not apply. RDMs of several folds of the runs
        are averaged.

    Raises
    ------
    InputError
        If the RDMs do not have the same stimuli in the same order.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> rdm = crsa.ModelRdm("animacy", "hypotheses", ["cat", "dog", "car"], [0, 1, 1])
    >>> crsa.to_rsatoolbox([rdm]).n_cond
    3
    """
    from rsatoolbox.rdm import RDMs

    if not isinstance(rdms, Comparison) and not (
        rdms and all(isinstance(one, (SubjectRdms, ModelRdm)) for one in rdms)
    ):
        raise InputError("give a Comparison, or a list of SubjectRdms or of ModelRdm")
    stimuli, rows = _rows_of(rdms)
    names = ("kind", "subject", "roi", "model", "group")
    return RDMs(
        np.stack([rdm for _, rdm in rows]),
        rdm_descriptors={name: [told.get(name, "") for told, _ in rows] for name in names},
        pattern_descriptors={"stimulus": list(stimuli)},
        dissimilarity_measure=(
            str(rdms.settings.rdm_metric) if isinstance(rdms, Comparison) else None
        ),
    )


def from_rsatoolbox(
    rdms: "RDMs", *, stimulus: str | None = None, group: str = DEFAULT_GROUP
) -> list[SubjectRdms] | list[ModelRdm]:
    """Make RDMs that `compare` takes from an `RDMs` object of rsatoolbox.

    Parameters
    ----------
    rdms : rsatoolbox.rdm.RDMs
        With the RDM descriptor `subject` (and `roi`), they become subjects, and RDMs without a
        subject are left out. Otherwise they become models, named by `model` or `name`.
    stimulus : str, optional
        Pattern descriptor that names the stimuli; by default the first of `stimulus`, `stimuli`,
        `conds`, `cond`, `condition`, `conditions` that exists.
    group : str, optional
        Group of models without the RDM descriptor `group`; by default one group for all.

    Raises
    ------
    InputError
        If descriptors name no stimuli, or neither subjects nor models.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> import numpy as np
    >>> from rsatoolbox.rdm import RDMs
    >>> rdms = RDMs(
    ...     np.array([[0.2, 0.9, 0.8]]),
    ...     rdm_descriptors={"subject": ["01"], "roi": ["V1"]},
    ...     pattern_descriptors={"stimulus": ["cat", "dog", "car"]},
    ... )
    >>> crsa.from_rsatoolbox(rdms)
    [SubjectRdms(sub-01: 3 stimuli; V1)]
    """
    patterns: Mapping[str, Any] = rdms.pattern_descriptors
    known = [name for name in ((stimulus,) if stimulus else STIMULUS_NAMES) if name in patterns]
    if not known:
        raise InputError(
            f"the RDMs have no pattern descriptor {stimulus or STIMULUS_NAMES[0]}: name the one "
            f"that holds the stimuli by stimulus=..., among {', '.join(patterns)}"
        )
    names = stimulus_ids([str(name) for name in patterns[known[0]]], "the RDMs")
    require_distinct(names, f"the pattern descriptor {known[0]} names", "average first")
    rows = sorted(range(len(names)), key=lambda row: names[row])
    stimuli = tuple(names[row] for row in rows)
    vectors = [reorder(np.asarray(rdm, dtype=np.float64), rows) for rdm in rdms.dissimilarities]
    told = {
        name: [clean_name(str(value)) for value in values]
        for name, values in rdms.rdm_descriptors.items()
    }
    if any(name not in UNKNOWN for name in told.get("subject", ())):
        return _subjects(stimuli, told, vectors)
    return _models(stimuli, told, vectors, group)


def _subjects(
    stimuli: tuple[str, ...], told: Mapping[str, Sequence[str]], rdms: Sequence[Floats]
) -> list[SubjectRdms]:
    regions = told.get("roi", ["region"] * len(rdms))
    of_subject: dict[str, dict[str, Floats]] = {}
    for subject, roi, rdm in zip(told["subject"], regions, rdms, strict=True):
        # In an object that holds models as well, theirs have no subject.
        if subject in UNKNOWN:
            continue
        require_names([roi], "region", f"the RDMs of {subject}")
        of_rois = of_subject.setdefault(subject.removeprefix("sub-"), {})
        if roi in of_rois:
            raise InputError(f"{subject} has two RDMs of {roi}: keep or average one")
        of_rois[roi] = rdm[None]
    return [SubjectRdms(subject, stimuli, rois) for subject, rois in of_subject.items()]


def _models(
    stimuli: tuple[str, ...],
    told: Mapping[str, Sequence[str]],
    rdms: Sequence[Floats],
    group: str,
) -> list[ModelRdm]:
    names = told.get("model", told.get("name"))
    if names is None:
        raise InputError(
            "the RDMs have no RDM descriptor subject, model or name: add one that names their "
            "subject or model"
        )
    groups = told.get("group", [group] * len(rdms))
    return [
        ModelRdm(name, of_model, stimuli, rdm)
        for name, of_model, rdm in zip(names, groups, rdms, strict=True)
    ]


def _rows_of(
    rdms: Comparison | Sequence[SubjectRdms] | Sequence[ModelRdm],
) -> tuple[tuple[str, ...], Rows]:
    rows: Rows = []
    if isinstance(rdms, Comparison):
        result = rdms.result
        for roi in result.rois:
            of_subjects = roi.rdms.mean(axis=0)
            for subject, rdm in zip(result.subjects, of_subjects, strict=True):
                rows.append(({"kind": "brain", "subject": subject, "roi": roi.roi}, rdm))
        for model, rdm in zip(result.models, result.model_rdms, strict=True):
            rows.append(({"kind": "model", "model": model.name, "group": model.group}, rdm))
        return result.stimuli, rows
    for one in rdms:
        if one.stimuli != rdms[0].stimuli:
            raise InputError(
                "the RDMs have different stimuli, or another order of stimuli: give RDMs of the "
                "same stimuli in one order"
            )
        if isinstance(one, ModelRdm):
            rows.append(({"kind": "model", "model": one.model, "group": one.group}, one.rdm))
        else:
            rows += [
                ({"kind": "brain", "subject": one.label, "roi": roi}, folds.mean(axis=0))
                for roi, folds in one.rois.items()
            ]
    return rdms[0].stimuli, rows
