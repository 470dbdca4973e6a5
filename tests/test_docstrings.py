"""Every public name has an example in its docstring, and the examples print what they say."""

import doctest
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import conceptrsa

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEEDS = {
    "extract_features": "timm",
    "from_rsatoolbox": "rsatoolbox",
    "to_rsatoolbox": "rsatoolbox",
}


@pytest.mark.parametrize("name", conceptrsa.__all__)
def test_examples_of_docstrings(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=FLAGS)
    public = getattr(conceptrsa, name)
    tests = [test for test in finder.find(public, name) if test.examples]
    assert name in {test.name for test in tests}, "its docstring has no example"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", conceptrsa.ComparisonWarning)
        for test in tests:
            test.globs.setdefault(name, public)
            runner.run(test)
    plt.close("all")
    assert runner.failures == 0
