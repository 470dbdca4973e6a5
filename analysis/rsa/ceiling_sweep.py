"""The noise ceiling as a function of the number of voxels."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.nested_ceilings import ceilings_of_orders, without_mean_pattern
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling
from conceptrsa.analysis.settings import (
    MANY_REGIONS,
    MANY_STIMULI,
    ComparisonSettings,
    is_own,
    is_product,
)

MIN_VOXELS = 3
"""Over two voxels a correlation is 1 or -1 whatever the data."""

MAX_SIZES_OF_SLOW_METRICS = (30, 20)
"""The sweep's limits where comparing RDMs is neither Pearson's nor Spearman's correlation."""

SIZES_OF_MANY_STIMULI, DRAWS_OF_MANY_STIMULI = (30, 30), 4
"""The sweep's limits, and its random draws, where stimuli are many: what a figure can show."""

SIZES_OF_MANY_REGIONS, DRAWS_OF_MANY_REGIONS = (10, 20), 4
"""The same where regions are many, each of which has a small panel."""

MAX_DRAWS_OF_TAU = 10
"""Random draws where RDMs are compared by Kendall's tau-a, which takes ten times longer."""

MAX_UNLUCKY_DRAWS = 1000
"""Number of times that voxels are drawn again if they leave a pattern constant."""


@dataclass(frozen=True)
class CeilingSweep:
    """Noise ceilings of one region over the number of voxels.

    Attributes
    ----------
    roi : str
    n_voxels : ndarray of int, (sizes,)
    top : NoiseCeiling
        Ceilings of the first voxels in order; arrays (sizes, subjects).
    random : NoiseCeiling
        Ceilings of random voxels; arrays (draws, sizes, subjects).
    note : str
        Sentence on how the sweep differs from the settings; or empty.
    circular : bool
        Whether the voxels were put in order by the betas that were then scored.
    """

    roi: str
    n_voxels: Integers
    top: NoiseCeiling
    random: NoiseCeiling
    note: str = ""
    circular: bool = True


def sweep_ceiling(
    roi: str, patterns: Sequence[Floats], orders: Sequence[Integers], settings: ComparisonSettings
) -> CeilingSweep:
    """Sweep the number of voxels of one region, in the order given and at random.

    Parameters
    ----------
    roi : str
        Its name also enters the seed, so that a region's draws do not depend on the other regions.
    patterns : sequence of ndarray, (stimuli, voxels)
        Betas that are scored, one array per subject.
    orders : sequence of ndarray of int, (voxels,)
        Columns of each subject's patterns, those that enter first before the others. Ranked by
        other runs than those of `patterns`, the curve is free of circular selection. The shortest
        ends the sweep.
    settings : ComparisonSettings
        Mahalanobis and crossnobis distances would need another inverse of the noise for every
        choice of voxels: their sweep takes correlation distances, and notes it.

    Returns
    -------
    CeilingSweep
        Lower and upper bounds of the random voxels are NaN for Spearman, for speed.
    """
    taken, _ = _affordable(settings, len(patterns[0]))
    in_order = sweep_top(patterns, orders, settings)
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode())])
    draws = draw_orders(
        patterns,
        min(len(order) for order in orders),
        taken.n_random_draws,
        generator,
        settings.random_replacement,
    )
    random = _ceilings(patterns, draws, in_order.n_voxels, taken, spearman_bounds=False)
    return replace(in_order, roi=roi, random=random)


def sweep_top(
    patterns: Sequence[Floats], orders: Sequence[Integers], settings: ComparisonSettings
) -> CeilingSweep:
    """Sweep the number of voxels in the order given only; see `sweep_ceiling`.

    Returns
    -------
    CeilingSweep
        Without a region's name, and without random draws.
    """
    taken, note = _affordable(settings, len(patterns[0]))
    n_columns = min(len(order) for order in orders)
    sizes = sweep_sizes(n_columns, taken.sweep_dense_until, taken.sweep_log_points)
    first_columns = np.stack([order[:n_columns] for order in orders])[None]
    top = _ceilings(patterns, first_columns, sizes, taken)
    return CeilingSweep(
        roi="",
        n_voxels=sizes,
        top=NoiseCeiling(*(bound[0] for bound in top)),
        random=NoiseCeiling(*(bound[:0] for bound in top)),
        note=note,
    )


def mean_over_folds(sweeps: Sequence[CeilingSweep]) -> CeilingSweep:
    """Mean of one region's sweeps with the same numbers of voxels; NaN where one of them is."""
    top, random = (
        NoiseCeiling(*(np.mean(bound, axis=0) for bound in zip(*ceilings, strict=True)))
        for ceilings in zip(*((sweep.top, sweep.random) for sweep in sweeps), strict=True)
    )
    return replace(sweeps[0], top=top, random=random)


def peak_size(sweep: CeilingSweep) -> int:
    """Number of voxels at which the mean pairwise ceiling over subjects is highest.

    Of the voxels in order, not the random ones. The smallest of several such numbers. Where no
    number of voxels has a ceiling, the largest that was visited, so that as many voxels as
    possible can still vary; in a region too small for a sweep 3, the smallest that could be.
    """
    if len(sweep.n_voxels) == 0:
        return MIN_VOXELS
    curve = mean_over_subjects(sweep.top.pairwise.T)
    if not np.isfinite(curve).any():
        return int(sweep.n_voxels[-1])
    # Rounding must not decide between sizes whose ceilings are the same.
    return int(sweep.n_voxels[np.flatnonzero(curve >= np.nanmax(curve) - 1e-12)[0]])


def sweep_sizes(n_voxels: int, dense_until: int, log_points: int) -> Integers:
    """Numbers of voxels to visit: each from 3 to `dense_until`, then log-spaced to `n_voxels`."""
    dense = np.arange(MIN_VOXELS, min(dense_until, n_voxels) + 1)
    if n_voxels <= dense_until:
        return dense
    spaced = np.round(np.geomspace(dense_until, n_voxels, log_points + 1)).astype(np.intp)
    return np.union1d(dense, spaced)


def draw_orders(
    patterns: Sequence[Floats],
    n_columns: int,
    n_draws: int,
    generator: np.random.Generator,
    replacement: bool = False,
) -> Integers:
    """Voxels of every subject at random, (draws, subjects, n_columns); prefixes are the samples.

    Parameters
    ----------
    patterns : sequence of ndarray, (stimuli, voxels)
    n_columns, n_draws : int
    generator : Generator
    replacement : bool
        Whether voxels are drawn with replacement, as in the authors' code. As there, a draw is
        made again while it leaves a pattern constant; here while its first three voxels do.
    """

    def one(values: Floats) -> Integers:
        n_voxels = values.shape[1]
        if not replacement:
            return generator.permutation(n_voxels)[:n_columns]
        for _ in range(MAX_UNLUCKY_DRAWS):
            drawn = generator.integers(n_voxels, size=n_columns)
            if np.ptp(values[:, drawn[:MIN_VOXELS]], axis=1).all():
                break
        return drawn

    return np.array(
        [[one(values) for values in patterns] for _ in range(n_draws)], dtype=np.intp
    ).reshape(n_draws, len(patterns), n_columns)


def sweep_of_many_regions(settings: ComparisonSettings, n_regions: int) -> ComparisonSettings:
    """Settings of a sweep: coarser ones where regions are many, in the preset 'recommended'."""
    if settings.preset != "recommended" or n_regions <= MANY_REGIONS:
        return settings
    dense_until, log_points = SIZES_OF_MANY_REGIONS
    return replace(
        settings,
        sweep_dense_until=min(settings.sweep_dense_until, dense_until),
        sweep_log_points=min(settings.sweep_log_points, log_points),
        n_random_draws=min(settings.n_random_draws, DRAWS_OF_MANY_REGIONS),
    )


def note_on_sweep(
    settings: ComparisonSettings, taken: ComparisonSettings | None
) -> tuple[str, ...]:
    """Say how the sweep taken is coarser than the settings; nothing where it is not."""
    wanted = settings.sweep_dense_until, settings.sweep_log_points, settings.n_random_draws
    if taken is None or wanted == (
        taken.sweep_dense_until,
        taken.sweep_log_points,
        taken.n_random_draws,
    ):
        return ()
    return (
        "the sweep of the noise ceiling over the number of voxels takes every number to "
        f"{taken.sweep_dense_until} and then {taken.sweep_log_points}, and {taken.n_random_draws} "
        "random draws, because there are many regions; --preset paper takes all",
    )


def _ceilings(
    patterns: Sequence[Floats],
    orders: Integers,
    sizes: Integers,
    settings: ComparisonSettings,
    *,
    spearman_bounds: bool = True,
) -> NoiseCeiling:
    if settings.remove_mean_pattern:
        patterns = [without_mean_pattern(values) for values in patterns]
    return ceilings_of_orders(
        patterns,
        orders,
        sizes,
        settings.rdm_metric,
        settings.rsa_metric,
        spearman_bounds=spearman_bounds,
    )


def _affordable(settings: ComparisonSettings, n_stimuli: int) -> tuple[ComparisonSettings, str]:
    """Replace what would take too long; say what in a sentence, empty where nothing is replaced."""
    taken, notes = settings, []
    if settings.rdm_metric in ("mahalanobis", "crossnobis") or is_own(settings.rdm_metric):
        taken = replace(taken, rdm_metric="correlation")
        notes.append(
            f"correlation distances in place of {settings.rdm_metric} ones, which would be "
            "computed anew for every choice of voxels"
        )
    is_slow = settings.rsa_metric not in ("pearson", "spearman")
    reason = settings.rsa_metric if is_slow else f"each with {n_stimuli} stimuli"
    dense_until, log_points = MAX_SIZES_OF_SLOW_METRICS if is_slow else SIZES_OF_MANY_STIMULI
    if (is_slow or n_stimuli > MANY_STIMULI) and (
        settings.sweep_dense_until > dense_until or settings.sweep_log_points > log_points
    ):
        taken = replace(
            taken,
            sweep_dense_until=min(settings.sweep_dense_until, dense_until),
            sweep_log_points=min(settings.sweep_log_points, log_points),
        )
        notes.append(
            f"every number of voxels to {taken.sweep_dense_until} and then "
            f"{taken.sweep_log_points}, as {reason} takes long"
        )
    if not is_product(settings.rsa_metric) and settings.n_random_draws > MAX_DRAWS_OF_TAU:
        taken = replace(taken, n_random_draws=MAX_DRAWS_OF_TAU)
        notes.append(
            f"{MAX_DRAWS_OF_TAU} random draws in place of {settings.n_random_draws}, as "
            f"{settings.rsa_metric} takes long"
        )
    elif n_stimuli > MANY_STIMULI and settings.n_random_draws > DRAWS_OF_MANY_STIMULI:
        taken = replace(taken, n_random_draws=DRAWS_OF_MANY_STIMULI)
        notes.append(
            f"{DRAWS_OF_MANY_STIMULI} random draws in place of {settings.n_random_draws}, as "
            f"{reason} takes long"
        )
    if not notes:
        return settings, ""
    return taken, (
        f"the sweep of the noise ceiling over the number of voxels takes {'; '.join(notes)}"
    )
