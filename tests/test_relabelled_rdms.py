"""RDMs whose stimuli are relabelled: the same with and without numba, and by definition."""

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from conceptrsa.analysis.rsa import relabelled_rdms
from conceptrsa.analysis.rsa.relabelled_rdms import add_relabelled, blocks_of_rows

N_STIMULI = 9


@pytest.mark.parametrize("compiled", [True, False])
def test_relabelled_by_definition(monkeypatch, compiled):
    if not compiled:
        monkeypatch.setattr(relabelled_rdms, "_kernels", lambda: None)
    rng = np.random.default_rng(0)
    square = squareform(rng.standard_normal(N_STIMULI * (N_STIMULI - 1) // 2))
    orders = rng.permuted(np.tile(np.arange(N_STIMULI), (5, 1)), axis=1)
    found = np.zeros((5, N_STIMULI * (N_STIMULI - 1) // 2))
    for rows, pairs in blocks_of_rows(N_STIMULI, 10):
        block = np.ones((5, pairs.stop - pairs.start))
        add_relabelled(square, orders, rows, block)
        found[:, pairs] = block - 1
    for order, relabelled in zip(orders, found, strict=True):
        expected = squareform(square[np.ix_(order, order)], checks=False)
        np.testing.assert_allclose(relabelled, expected, atol=1e-14)


@pytest.mark.parametrize("n_pairs", [1, 10, 1000])
def test_blocks_hold_every_pair_once(n_pairs):
    blocks = list(blocks_of_rows(N_STIMULI, n_pairs))
    assert [row for rows, _ in blocks for row in rows] == list(range(N_STIMULI - 1))
    ends = [0, *(pairs.stop for _, pairs in blocks)]
    assert [pairs.start for _, pairs in blocks] == ends[:-1]
    assert ends[-1] == N_STIMULI * (N_STIMULI - 1) // 2
