"""RDMs of two subjects and a model, the least that can be compared."""

from pathlib import Path

import numpy as np
import pandas as pd


def write_study(folder: Path) -> list[str]:
    """Write RDMs of two subjects and three regions, and a model; give the command's words."""
    generator = np.random.default_rng(0)
    names = [f"s{index}" for index in range(5)]
    (folder / "betas").mkdir()
    for subject in ("01", "02"):
        for roi in ("a", "b", "c"):
            table = pd.DataFrame(generator.random((5, 5)), names, names)
            table = (table + table.T) * (1 - np.eye(5))
            file = folder / "betas" / f"sub-{subject}_{roi}.tsv"
            table.to_csv(file, sep="\t", index_label="stimulus")
    (folder / "features").mkdir()
    values = pd.DataFrame(generator.random((5, 4)), names)
    values.to_csv(folder / "features" / "net.tsv", sep="\t", index_label="stimulus")
    return [
        "compare", "--betas", str(folder / "betas"), "--betas-format", "rdms",
        "--features", str(folder / "features"), "--out", str(folder / "out"), "--n-jobs", "2",
    ]  # fmt: skip
