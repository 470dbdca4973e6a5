"""What makes a look at a finished subject worth while, read from its derivatives."""

import json
from collections.abc import Iterator
from pathlib import Path

from conceptrsa.bids_config.tsv import read_table

LOW_COVERAGE = 0.8


def read_cautions(out_dir: Path, subject: str) -> list[str]:
    """Give a sentence for each: odd images, doubtful registrations, poor coverage, steps left out.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject : str
        Label without `sub-`.
    """
    folder = out_dir / f"sub-{subject}"
    return [*_of_anatomy(folder), *_of_preprocessing(folder), *_of_coverage(folder)]


def _of_anatomy(folder: Path) -> Iterator[str]:
    """What the brain mask, the registrations and the regions warn of."""
    reports = [file for kind in ("mask", "xfm", "dseg") for file in folder.glob(f"*/*_{kind}.json")]
    for report in sorted(reports):
        for warning in json.loads(report.read_text()).get("warnings", []):
            yield f"{report.stem}: {warning}"


def _of_preprocessing(folder: Path) -> Iterator[str]:
    for sidecar in sorted(folder.glob("func/*_space-MNI305_res-2_stat-effect_statmap.json")):
        betas = json.loads(sidecar.read_text())
        yield from betas.get("Noticed", [])
        estimation = betas.get("Estimation", {})
        if estimation.get("SliceTimingCorrected") is False:
            left_out = (
                "fMRIPrep did not correct the slices for their timing"
                if "Preprocessing" in estimation
                else "the slices were not corrected for their timing (--ignore slicetiming)"
            )
            yield (
                f"{left_out}: the model takes all for the middle of a volume, and the first and "
                "the last are up to half a TR off"
            )
        if wrong := betas.get("RepetitionTimesInHeaders", []):
            yield (
                f"the headers of {len(wrong)} of fMRIPrep's images say another TR "
                f"({wrong[0]:g} s) than their sidecars, as those of fMRIPrep 23.2.0 do: the "
                "sidecars' was used"
            )
        counts = betas.get("NonSteadyStateVolumes", [])
        if any(counts):
            yield (
                f"{sum(counts)} non-steady-state volumes, as fMRIPrep flags them, are in the model "
                f"like all others ({sum(map(bool, counts))} of {len(counts)} runs begin with some)"
            )


def _of_coverage(folder: Path) -> Iterator[str]:
    for table in sorted(folder.glob("func/*_desc-coverage_rois.tsv")):
        for row in read_table(table).frame(texts=["roi"]).to_dict("records"):
            if row["coverage"] < LOW_COVERAGE:
                yield f"only {row['coverage']:.0%} of the region {row['roi']} has betas"
