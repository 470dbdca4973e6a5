"""The calibration benchmark runs, and says so where something is off."""

from benchmarks import stimulus_designs
from benchmarks.calibration import studies
from benchmarks.calibration_study import SIGNALS, Row, markdown
from benchmarks.ruled_out import CROSSED, PATTERNS, ruled_out


def test_every_study_gives_rows(monkeypatch):
    monkeypatch.setattr(stimulus_designs, "MANY_PERMUTATIONS", 20)
    monkeypatch.setattr(stimulus_designs, "N_PERMUTATIONS", 20)
    for study in studies(2, seed=0):
        assert study().rows
    kept, left = ruled_out(2, 0, CROSSED[:1])
    assert len(kept.rows) == len(left.rows) == len(PATTERNS) * len(SIGNALS)
    assert all(row.verdict for row in kept.rows)


def test_a_table_says_what_is_off():
    rows = [
        Row("right", "data", 0.05, 0.01, (0.03, 0.07)),
        Row("nearly right", "data", 0.08, 0.01, (0.03, 0.07)),
        Row("wrong", "data", 0.12, 0.01, (0.03, 0.07)),
        Row("compared", "data", 0.5, 0.01, None),
    ]
    assert [row.verdict for row in rows] == ["yes", "within error", "**no**", ""]


def test_markdown_has_a_line_a_row():
    study = studies(2, seed=0)[4]()
    assert len(markdown(study).splitlines()) == 4 + len(study.rows)
