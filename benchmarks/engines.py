"""The SPM engine against the embedded one on the demo: betas, RDMs, motion, registration, time.

    conceptrsa demo OUT --engine python
    cp -r OUT OTHER, without work, derivatives and recovery.tsv
    conceptrsa demo OTHER --engine spm
    python benchmarks/engines.py OUT OTHER

Prints one table a question, in Markdown.
"""

import argparse
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, read_matrix
from conceptrsa.pipelines.demo.demo_dataset import TASK
from conceptrsa.pipelines.demo.truth import SubjectTruth

_FINISHED = re.compile(r'Finished "_?([a-z_0-9]+?)\d*", elapsed time ([\d.]+)s')


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, over what is finite in both."""
    both = np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[both], second[both])[0, 1])


INDEX = ["quantity", "roi", "subject"]


def truth_table(demos: Sequence[Path]) -> pd.DataFrame:
    """recovery.tsv of each demo, side by side."""
    tables = [
        pd.read_csv(demo / "recovery.tsv", sep="\t").set_index(INDEX)[["recovered"]]
        for demo in demos
    ]
    for demo, table in zip(demos, tables, strict=True):
        table.index = table.index.map(lambda key: (re.sub(r" \(ceiling.*", "", key[0]), *key[1:]))
        table.columns = [demo.name]
    return tables[0].join(tables[1:], how="outer", sort=False).reset_index()


def truth_by_subject(demos: Sequence[Path]) -> pd.DataFrame:
    """Correlation of betas in EPI space with the planted ones, each subject and region."""
    rows = []
    for file in sorted((demos[0] / "truth").glob("sub-*.npz")):
        truth = SubjectTruth.read(file)
        inside = truth.responsive > 0
        region = truth.responsive[inside]
        for demo in demos:
            name = f"{file.stem}_task-{TASK}_space-boldref_stat-effect_statmap"
            func = demo / "derivatives" / file.stem / "func"
            stimuli = list(pd.read_csv(func / f"{name}.tsv", sep="\t")["stimulus"])
            order = [stimuli.index(stimulus) for stimulus in truth.stimuli]
            betas = np.asarray(nib.load(func / f"{name}.nii.gz").dataobj)[inside].T[order]
            for number, roi in enumerate(truth.rois, start=1):
                chosen = region == number
                rows.append({
                    "subject": file.stem, "roi": roi, "demo": demo.name,
                    "correlation": correlation(truth.betas[:, chosen], betas[:, chosen]),
                })  # fmt: skip
    table = pd.DataFrame(rows).pivot_table("correlation", ["subject", "roi"], "demo", sort=False)
    return table[[demo.name for demo in demos]].reset_index()


def agreement_table(demos: Sequence[Path]) -> pd.DataFrame:
    """Correlation of betas (MNI305) and of RDMs between the two, per region; worst and mean."""
    rois = load_dataset_config("demo").rois
    first, second = (
        read_betas(demo / "derivatives", rois, betas_format="derivatives") for demo in demos
    )
    rows = []
    for roi in rois:
        betas, rdms = [], []
        for subjects in zip(first, second, strict=True):
            one, other = (subject.rois[roi.name] for subject in subjects)
            _, here, there = np.intersect1d(one.voxels, other.voxels, return_indices=True)
            one, other = one.values[:, here], other.values[:, there]
            betas.append(correlation(one.ravel(), other.ravel()))
            rdms.append(correlation(pdist(one, "correlation"), pdist(other, "correlation")))
        rows.append({
            "roi": roi.name, "betas, mean": np.mean(betas), "betas, worst": min(betas),
            "RDM, mean": np.mean(rdms), "RDM, worst": min(rdms),
        })  # fmt: skip
    return pd.DataFrame(rows)


def registration_table(demos: Sequence[Path]) -> pd.DataFrame:
    """Distance of the two engines' places of the EPI in the T1w, mean over the brain (mm)."""
    rows = []
    for file in sorted((demos[0] / "truth").glob("sub-*.npz")):
        truth = SubjectTruth.read(file)
        brain = mask_points(truth.brain, truth.bold_affine)
        name = f"{file.stem}_task-{TASK}_from-boldref_to-T1w_xfm.txt"
        matrices = [read_matrix(demo / "derivatives" / file.stem / "func" / name) for demo in demos]
        for one, other in combinations(matrices, 2):
            distance = float(displacements(one, other, brain).mean())
            rows.append({"subject": file.stem, "distance (mm)": distance})
    return pd.DataFrame(rows)


def best_models(demos: Sequence[Path]) -> pd.DataFrame:
    """The model with the highest mean RSA of each region."""
    columns = {}
    for demo in demos:
        rsa = pd.read_csv(demo / "derivatives" / "group" / "rsa.tsv", sep="\t", na_values="n/a")
        means = rsa.groupby(["roi", "model"], sort=False)["rsa"].mean().unstack()
        columns[demo.name] = means.idxmax(axis=1)
    return pd.DataFrame(columns).reset_index()


def time_table(demos: Sequence[Path]) -> pd.DataFrame:
    """Seconds of each step, all subjects and runs together; of what this run computed."""
    columns = {}
    for demo in demos:
        seconds: dict[str, float] = {}
        for step, elapsed in _FINISHED.findall(
            (demo / "derivatives" / "logs" / "nipype.log").read_text()
        ):
            seconds[step] = seconds.get(step, 0.0) + float(elapsed)
        columns[demo.name] = seconds
    return pd.DataFrame(columns).rename_axis("step").reset_index()


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers with three decimals."""

    def text(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(map(text, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demos", type=Path, nargs=2)
    demos = [demo.resolve() for demo in parser.parse_args().demos]
    for title, make in (
        ("Planted truth, worst subject", truth_table),
        ("Betas against planted truth, EPI space", truth_by_subject),
        ("Agreement of the two, MNI305", agreement_table),
        ("Coregistration, between the two", registration_table),
        ("Best model", best_models),
        ("Time (s)", time_table),
    ):
        print(f"\n## {title}\n\n{markdown(make(demos))}")


if __name__ == "__main__":
    main()
