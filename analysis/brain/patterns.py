"""Multivoxel patterns of one or more subjects: what every source of betas is turned into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conceptrsa.analysis.arrays import Booleans, Floats, Integers, Singles
from conceptrsa.analysis.files.given_arrays import names_given, rows_given
from conceptrsa.analysis.files.rdm_files import rdm_vector, reorder
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, require_names

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Half = Literal["odd", "even"]
"""The first, third, ... runs, or the second, fourth, ... ones."""

MIN_STIMULI = 3
"""Two stimuli give an RDM of one number, which correlates with nothing."""

NOTHING = 1e-6
"""What varies over stimuli by less than this share of its values is rounding, and no data."""

RESIDUE = 1e-9
"""What varies by less than this share of the median voxel is rounding around 0."""


@dataclass(frozen=True, repr=False)
class RoiPatterns:
    """The betas of one subject in one region of interest.

    Attributes
    ----------
    values : ndarray, (stimuli, voxels)
        Betas, finite, in the units of their source; voxels in the order of `voxels`.
    voxels : ndarray of int, (voxels,)
        Flat (C order) indices of the voxels in the volume's grid, increasing.
    n_dropped : int
        Voxels of the region left out because they hold no data.
    n_same : int
        Those of them whose betas are finite, but the same for all stimuli.
    odd, even : ndarray, (stimuli, voxels), or None
        Betas of the first, third, ... and of the second, fourth, ... runs, where known.
    runs : ndarray, (runs, stimuli, voxels), or None
        Betas of each run in the order of the runs, where known.
    residual_covariance : ndarray, (voxels, voxels), or None
        Covariance of the linear model's residuals, shrunk so that it can be inverted.
    """

    values: Floats
    voxels: Integers
    n_dropped: int = 0
    odd: Floats | None = None
    even: Floats | None = None
    runs: Floats | None = None
    residual_covariance: Singles | Floats | None = None
    n_same: int = 0

    @classmethod
    def from_array(
        cls,
        betas: ArrayLike,
        voxels: ArrayLike | None = None,
        odd: ArrayLike | None = None,
        even: ArrayLike | None = None,
        residual_covariance: ArrayLike | None = None,
        source: str = "the array",
        name_of: Callable[[str], str] | None = None,
    ) -> "RoiPatterns":
        """Make the patterns of a region from an array.

        Parameters
        ----------
        betas : array_like, (stimuli, voxels) or (runs, stimuli, voxels)
            Of single runs: patterns are their means, over all runs and over every other run.
        voxels : ndarray of int, (voxels,), optional
            Flat indices of the voxels in a volume; by default they are numbered.
        odd, even : array_like, (stimuli, voxels), optional
            Betas of halves of the runs, where those of single runs are not given.
        residual_covariance : array_like, (voxels, voxels), optional
        source : str
            What the array is, for messages.
        name_of : callable, optional
            Gives what another array is, by the name of its parameter, for messages; by default
            'the array odd beside' the source.

        Raises
        ------
        InputError
            On an array of another number of dimensions or without a value, and on others that do
            not fit it.
        """
        name_of = name_of or (lambda part: f"the array {part} beside {source}")
        array = np.array(betas, dtype=np.float64)
        if array.ndim not in (2, 3) or array.size == 0:
            raise InputError(
                f"{source} is of shape {array.shape}: give (stimuli, voxels) or (runs, stimuli, "
                "voxels)"
            )
        runs = array if array.ndim == 3 and len(array) > 1 else None
        n_voxels = array.shape[-1]
        given = {
            name: (None if value is None else np.array(value), shape)
            for name, value, shape in (
                ("voxels", voxels, (n_voxels,)),
                ("odd", odd, array.shape[-2:]),
                ("even", even, array.shape[-2:]),
                ("residual_covariance", residual_covariance, (n_voxels, n_voxels)),
            )
        }
        for name, (value, shape) in given.items():
            if value is not None and value.shape != shape:
                raise InputError(
                    f"{name_of(name)} is of shape {value.shape}: give {shape} to fit betas of "
                    f"{array.shape}"
                )
        places = given["voxels"][0]
        places = np.arange(n_voxels) if places is None else places.astype(np.intp)
        if len(np.unique(places)) < n_voxels:
            raise InputError(f"{name_of('voxels')} holds a voxel twice: keep one")
        halves = [given[half][0] for half in ("odd", "even")]
        if runs is not None:
            for name, half in zip(("odd", "even"), halves, strict=True):
                if half is not None:
                    raise InputError(
                        f"{name_of(name)} stands beside betas of single runs, which make halves of "
                        "their own: leave odd and even out"
                    )
            halves = [runs[0::2].mean(axis=0), runs[1::2].mean(axis=0)]
        patterns = cls(
            values=array.mean(axis=0) if array.ndim == 3 else array,
            voxels=places,
            odd=None if halves[0] is None else halves[0].astype(np.float64),
            even=None if halves[1] is None else halves[1].astype(np.float64),
            runs=runs,
            residual_covariance=given["residual_covariance"][0],
        )
        order = np.argsort(patterns.voxels)
        return patterns if (np.diff(order) == 1).all() else patterns.of_voxels(order)

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        runs = "" if self.runs is None else f", {len(self.runs)} runs"
        return f"RoiPatterns({len(self.values)} stimuli, {self.n_voxels} voxels{runs})"

    @property
    def n_voxels(self) -> int:
        """Number of usable voxels."""
        return int(self.values.shape[1])

    @property
    def has_halves(self) -> bool:
        """Whether there are betas of the odd and of the even runs."""
        return self.odd is not None and self.even is not None

    def betas_of(self, half: Half | None) -> Floats:
        """Betas (stimuli, voxels) of all runs, or of a half of them that is known to be there."""
        betas = {None: self.values, "odd": self.odd, "even": self.even}[half]
        assert betas is not None
        return betas

    def runs_of(self, half: Half | None) -> Floats | None:
        """Betas (runs, stimuli, voxels) of all runs or of a half; None where not known."""
        if self.runs is None or half is None:
            return self.runs
        return self.runs[0 if half == "odd" else 1 :: 2]

    def of_stimuli(self, rows: Sequence[int]) -> "RoiPatterns":
        """Give the betas of some stimuli, in the order of `rows`."""
        return replace(self, **self._betas_changed(lambda betas: betas[..., rows, :]))

    def of_voxels(self, columns: Integers) -> "RoiPatterns":
        """Give some of the voxels; the others count as dropped."""
        covariance = self.residual_covariance
        return replace(
            self,
            voxels=self.voxels[columns],
            n_dropped=self.n_dropped + self.n_voxels - len(columns),
            residual_covariance=(
                None if covariance is None else covariance[np.ix_(columns, columns)]
            ),
            **self._betas_changed(lambda betas: np.ascontiguousarray(betas[..., columns])),
        )

    def _betas_changed(self, change: Callable[[Floats], Floats]) -> dict[str, Any]:
        """Betas of all runs, of halves and of single runs, where they are known, changed alike."""
        betas = {"values": self.values, "odd": self.odd, "even": self.even, "runs": self.runs}
        return {name: change(values) for name, values in betas.items() if values is not None}

    def with_data(self) -> "RoiPatterns":
        """Leave out voxels that are not finite somewhere, or the same for all stimuli."""
        covariance = self.residual_covariance
        # A voxel without covariance has none with any voxel, and its own is enough to tell.
        variances = None if covariance is None else np.diagonal(covariance)[None]
        finite = finite_voxels(self.values, self.odd, self.even, self.runs, variances)
        varying = varying_voxels(self.values, self.odd, self.even, self.runs)
        complete = finite & varying
        if complete.all():
            return self
        n_same = self.n_same + int(np.count_nonzero(finite & ~varying))
        return replace(self.of_voxels(np.flatnonzero(complete)), n_same=n_same)


def finite_voxels(*arrays: NDArray[Any] | None) -> Booleans:
    """Which voxels, the last axis, are finite throughout all arrays that are there."""
    present = [array for array in arrays if array is not None]
    of_each = [np.isfinite(array).all(axis=tuple(range(array.ndim - 1))) for array in present]
    complete: Booleans = np.logical_and.reduce(of_each)
    return complete


def varying_voxels(*arrays: Floats | None) -> Booleans:
    """Which voxels differ between stimuli in all arrays (..., stimuli, voxels) that are there.

    Programs write 0 or another number outside of what was measured, in all runs or in one. Of
    fewer than three stimuli two may be the same by chance, so that nothing is known.
    """
    present = [array for array in arrays if array is not None]
    varying = np.ones(present[0].shape[-1], dtype=bool)
    for array in present:
        if array.shape[-2] < MIN_STIMULI:
            continue
        of_array = vary_between(array.min(axis=-2), array.max(axis=-2))
        varying &= of_array.all(axis=tuple(range(of_array.ndim - 1)))
    return varying


def vary_between(low: Floats, high: Floats) -> Booleans:
    """Tell of lowest and highest values (..., voxels) whether they differ by more than rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        some = spread[np.isfinite(spread) & (spread > 0)]
        residue = RESIDUE * np.median(some) if some.size else 0.0
        rounding = NOTHING * np.maximum(np.abs(low), np.abs(high))
        varying: Booleans = spread > np.maximum(residue, rounding)
    return varying


class _Labelled:
    """How a subject is spoken of in tables and messages."""

    datum: ClassVar[str]
    subject: str
    stimuli: tuple[str, ...]
    sources: tuple[Path, ...]

    @property
    def label(self) -> str:
        """The subject as BIDS spells it in tables and folders."""
        return f"sub-{self.subject}"

    @property
    def origin(self) -> str:
        """Where the data came from, for messages."""
        return str(self.sources[0].parent) if self.sources else "the patterns given"


@dataclass(frozen=True, repr=False)
class SubjectPatterns(_Labelled):
    """The betas of one subject in every region.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, one per row of every region's values, sorted.
    rois : mapping of str to RoiPatterns
        By region name, in the order of presentation.
    sources : tuple of Path
        The files that the betas and regions were read from.
    notes : tuple of str
        What happened while reading that the user should know.
    estimation : mapping
        How the betas were estimated, as their sidecar has it; empty where that is not known.
    kind : {'t', 'z'} or None
        What their files say that they hold in place of betas.
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, RoiPatterns]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    estimation: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    datum: ClassVar[str] = "beta"

    @classmethod
    def from_arrays(
        cls, subject: str, stimuli: Sequence[str], rois: Mapping[str, ArrayLike | RoiPatterns]
    ) -> "SubjectPatterns":
        """Make the patterns of a subject from arrays.

        Parameters
        ----------
        subject : str
            Label with or without `sub-`.
        stimuli : sequence of str
            Their names, in the order of the arrays' rows.
        rois : mapping of str to array_like
            Betas of each region by its name, (stimuli, voxels) or (runs, stimuli, voxels); see
            `RoiPatterns.from_array` for betas of halves and other particulars.

        Raises
        ------
        InputError
            On stimuli of one name, an array that does not fit the stimuli, or no region.

        Examples
        --------
        >>> import numpy as np
        >>> runs = np.random.default_rng(0).normal(size=(4, 3, 20))
        >>> SubjectPatterns.from_arrays("01", ["cat", "dog", "car"], {"visual": runs})
        SubjectPatterns(sub-01: 3 stimuli; visual 20 voxels)
        """
        label, names = _who(subject, stimuli, rois)
        regions: dict[str, RoiPatterns] = {}
        for name, betas in rois.items():
            source = f"the array of {name} of sub-{label}"
            roi = (
                betas
                if isinstance(betas, RoiPatterns)
                else RoiPatterns.from_array(rows_given(betas, names, source), source=source)
            )
            if len(roi.values) != len(names):
                raise InputError(
                    f"{source} has {len(roi.values)} rows for {len(names)} stimuli: give one a "
                    "stimulus, (stimuli, voxels) or (runs, stimuli, voxels)"
                )
            regions[name] = roi
        rows = sorted(range(len(names)), key=lambda row: names[row])
        in_order = {name: roi.of_stimuli(rows) for name, roi in regions.items()}
        return with_data_only(cls(label, tuple(names[row] for row in rows), in_order))

    def of_rows(self, rows: Sequence[int]) -> "SubjectPatterns":
        """Give the betas of some stimuli, in the order of `rows`."""
        return replace(
            self,
            stimuli=tuple(self.stimuli[row] for row in rows),
            rois={name: roi.of_stimuli(rows) for name, roi in self.rois.items()},
        )

    @property
    def is_derivative(self) -> bool:
        """Whether the participant level made the betas, so that it can make more of them."""
        return "Engine" in self.estimation

    @property
    def roi_without_halves(self) -> str | None:
        """The first region without betas of the odd and of the even runs, if any."""
        return next((name for name, roi in self.rois.items() if not roi.has_halves), None)

    def require_halves(self) -> None:
        """Check that there are betas of the odd and of the even runs of every region.

        Raises
        ------
        InputError
            Naming the subject, and what can be done without.
        """
        if roi := self.roi_without_halves:
            raise InputError(
                f"{self.origin} holds no betas of odd and even runs of {self.label} in {roi}, "
                "which choosing voxels on one half and scoring the other needs: supply them, or "
                "choose --voxel-selection all (nothing is chosen), --selection-data same (results "
                "are labelled circular) or --preset paper"
            )

    def __repr__(self) -> str:
        """What is there, without the numbers."""
        rois = ", ".join(f"{name} {roi.n_voxels} voxels" for name, roi in self.rois.items())
        return f"SubjectPatterns({self.label}: {len(self.stimuli)} stimuli; {rois})"


@dataclass(frozen=True, repr=False)
class SubjectRdms(_Labelled):
    """The RDMs of one subject in every region, where patterns are not known.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, sorted.
    rois : mapping of str to ndarray, (folds, pairs)
        By region name, in the order of presentation; finite, pairs in `pdist` order.
    sources : tuple of Path
        The files that the RDMs were read from.
    notes : tuple of str
        What happened while reading that the user should know.
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, Floats]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    datum: ClassVar[str] = "RDM"

    @classmethod
    def from_arrays(
        cls, subject: str, stimuli: Sequence[str], rois: Mapping[str, ArrayLike]
    ) -> "SubjectRdms":
        """Make the RDMs of a subject from arrays.

        Parameters
        ----------
        subject : str
            Label with or without `sub-`.
        stimuli : sequence of str
            Their names, in the order of the arrays' rows, or of `pdist`.
        rois : mapping of str to array_like, (stimuli, stimuli) or (pairs,)
            The RDM of each region by its name.

        Raises
        ------
        InputError
            On stimuli of one name, an array that is no RDM of these stimuli, or no region.
        """
        label, names = _who(subject, stimuli, rois)
        rows = sorted(range(len(names)), key=lambda row: names[row])
        regions = {}
        for name, given in rois.items():
            source = f"the RDM of {name} of sub-{label}"
            rdm = rdm_vector(np.asarray(given, dtype=np.float64), len(names), source)
            regions[name] = reorder(rdm, rows)[None]
        return cls(label, tuple(names[row] for row in rows), regions)

    def of_rows(self, rows: Sequence[int]) -> "SubjectRdms":
        """Give the RDMs of some stimuli, in the order of `rows`."""
        rois = {
            name: np.stack([reorder(rdm, list(rows)) for rdm in rdms])
            for name, rdms in self.rois.items()
        }
        return replace(self, stimuli=tuple(self.stimuli[row] for row in rows), rois=rois)

    def __repr__(self) -> str:
        """What is there, without the numbers."""
        return f"SubjectRdms({self.label}: {len(self.stimuli)} stimuli; {', '.join(self.rois)})"


def _who(
    subject: str, stimuli: Sequence[str], rois: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """Check names that arrays are given with: the subject's label, and the stimuli's."""
    label = clean_name(str(subject)).removeprefix("sub-")
    names = names_given(stimuli, f"the arrays of sub-{label}")
    if not isinstance(rois, Mapping) or not rois:
        raise InputError(f"sub-{label} has no region: give a dict, such as {{'V1': array}}")
    for name in rois:
        if not isinstance(name, str):
            raise InputError(f"a region of sub-{label} is called {name!r}: give its name as text")
    require_names(rois, "region", f"sub-{label}")
    return label, names


Subjects = Sequence[SubjectPatterns] | Sequence[SubjectRdms]


def have_patterns(
    subjects: Subjects,
) -> "TypeIs[Sequence[SubjectPatterns]]":
    """Tell whether subjects come with patterns, or with RDMs only."""
    return all(isinstance(subject, SubjectPatterns) for subject in subjects)


def with_data_only(subject: SubjectPatterns) -> SubjectPatterns:
    """Leave out voxels that hold no data, and say how many in the subject's notes.

    Parameters
    ----------
    subject : SubjectPatterns

    Returns
    -------
    SubjectPatterns
        See `RoiPatterns.with_data`.
    """
    rois = {name: roi.with_data() for name, roi in subject.rois.items()}
    outdated = voxel_notes(subject)
    notes = [note for note in subject.notes if note not in outdated]
    complete = replace(subject, rois=rois, notes=tuple(notes))
    return replace(complete, notes=(*notes, *voxel_notes(complete)))


def voxel_notes(subject: SubjectPatterns) -> tuple[str, ...]:
    """Say which of a subject's voxels were left out, and which may lack data."""
    rois = subject.rois
    counts = {
        "left out because a beta is not finite": {
            name: roi.n_dropped - roi.n_same for name, roi in rois.items()
        },
        "left out because their beta is the same for all stimuli (of all runs, a half or a run), "
        "as outside of a mask": {name: roi.n_same for name, roi in rois.items()},
        "whose beta is exactly 0 for some stimuli but not for all, kept": {
            name: _n_with_zeros(roi) for name, roi in rois.items()
        },
    }
    sizes = {name: roi.n_dropped + roi.n_voxels for name, roi in rois.items()}
    return tuple(
        f"{subject.label}: voxels {what}: "
        + ", ".join(f"{name} {n} of {sizes[name]}" for name, n in of_rois.items() if n)
        for what, of_rois in counts.items()
        if any(of_rois.values())
    )


def _n_with_zeros(roi: RoiPatterns) -> int:
    arrays = [array for array in (roi.values, roi.odd, roi.even) if array is not None]
    return int(np.count_nonzero(np.logical_or.reduce([(a == 0).any(axis=0) for a in arrays])))


EVERY_SUBJECT = "all subjects"


@dataclass(frozen=True)
class RegionCoverage:
    """The voxels of one region in one subject, or those that all subjects share.

    Attributes
    ----------
    roi, subject : str
        The subject is 'all subjects' in the row of voxels that no subject lacks; there is such a
        row where the region is the same set of voxels in every subject.
    n_voxels : int
        Voxels of the region.
    n_without_betas : int
        Those that lack a beta: in this subject, or in any.
    share_without_betas : float
    """

    roi: str
    subject: str
    n_voxels: int
    n_without_betas: int
    share_without_betas: float


def coverage_of(subjects: Sequence[SubjectPatterns]) -> tuple[RegionCoverage, ...]:
    """Count the voxels without betas of every region.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    """
    rows = []
    for name in subjects[0].rois:
        regions = [subject.rois[name] for subject in subjects]
        sizes = [region.n_voxels + region.n_dropped for region in regions]
        for subject, region, size in zip(subjects, regions, sizes, strict=True):
            rows.append(_row(name, subject.label, size, region.n_dropped))
        seen = reduce(np.union1d, [region.voxels for region in regions])
        if len(set(sizes)) == 1 and len(seen) <= sizes[0]:
            shared = reduce(np.intersect1d, [region.voxels for region in regions])
            rows.append(_row(name, EVERY_SUBJECT, sizes[0], sizes[0] - len(shared)))
    return tuple(rows)


def _row(roi: str, subject: str, size: int, lacking: int) -> RegionCoverage:
    return RegionCoverage(roi, subject, size, lacking, lacking / size if size else 0.0)
