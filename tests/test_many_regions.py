"""Beyond so many regions extras are left out, with notes; what is left is the same."""

import numpy as np

import conceptrsa as crsa
from conceptrsa.analysis import comparison
from conceptrsa.analysis.output.figures import all_figures
from conceptrsa.analysis.rsa import ceiling_sweep

STIMULI = [f"stimulus-{number}" for number in range(8)]


def _compared():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4, len(STIMULI), 6))
    models = [
        crsa.Features(f"m{index}", "ab"[index % 2], STIMULI, values)
        for index, values in enumerate(features)
    ]
    subjects = [
        crsa.SubjectPatterns.from_arrays(
            f"{subject:02d}",
            STIMULI,
            {
                f"region {region}": features[region] @ rng.standard_normal((6, 40))
                + rng.standard_normal((2, len(STIMULI), 40))
                for region in range(3)
            },
        )
        for subject in range(3)
    ]
    return crsa.compare(subjects, models, n_permutations=100, n_random_draws=6)


def test_extras_are_left_out_with_notes(monkeypatch):
    everything = _compared()
    for module in (comparison, ceiling_sweep, all_figures):
        monkeypatch.setattr(module, "MANY_REGIONS", 2)
    monkeypatch.setattr(all_figures, "MOST_OF_MANY_REGIONS", 1)
    found = _compared()
    assert "multiverse" in everything.tables
    assert "multiverse" not in found.tables
    assert found.tables["noise_ceilings"]["draw"].max() == ceiling_sweep.DRAWS_OF_MANY_REGIONS - 1
    notes = " ".join(found.notes)
    for words in ("the multiverse is skipped", "there are many regions"):
        assert words in notes
    for name in ("rsa", "scores", "model_tests", "variance_partition"):
        np.testing.assert_array_equal(
            found.tables[name].select_dtypes("number"),
            everything.tables[name].select_dtypes("number"),
        )
    assert len(found.plot.figure("scores").axes) == 1
