"""Checkpoints that are damaged, cut short or something else are refused in one sentence."""

import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import WRITERS, network

from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")

# Damaged files.


def torchscript(content: Any, file: Path) -> None:
    torch.jit.save(torch.jit.script(network()), file)


ALL_WRITERS = {**WRITERS, "TorchScript": torchscript}


@pytest.mark.parametrize("form", ALL_WRITERS)
def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(form: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut.pth"
    ALL_WRITERS[form](network().state_dict(), whole)
    content = whole.read_bytes()
    ends = {1, 2, 9, 40, *np.linspace(100, len(content) - 1, 40).astype(int).tolist()}
    for end in ends:
        cut.write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.pth"):
            read_checkpoint(cut)


@pytest.mark.parametrize("form", ALL_WRITERS)
def test_damage_anywhere_is_an_error_or_harmless(form: str, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged.pth"
    ALL_WRITERS[form](network().state_dict(), whole)
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole.read_bytes())
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(256)
        damaged.write_bytes(content)
        try:
            assert isinstance(read_checkpoint(damaged), Mapping)
        except InputError as error:
            assert "damaged.pth" in str(error)


@pytest.mark.parametrize("form", ["torch", "npz", "TorchScript"])
def test_a_bit_that_flips_among_the_numbers_of_an_archive_is_found(
    form: str, tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    state = network().state_dict()
    ALL_WRITERS[form](state, file)
    content = bytearray(file.read_bytes())
    place = content.find(state["conv.weight"].numpy().tobytes())
    content[place + 5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>404</title></html>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 600, "HDF5"),
        (b"\x1f\x8b\x08" + b"\0" * 600, "gzip"),
        (b"PNG and so on", "an unknown format"),
        (b"\x93NUMPY\x01\0", "an unknown format"),
        (b"sys_info".ljust(257, b"\0") + b"ustar" + b"\0" * 400, "tar archive"),
    ],
)
def test_other_files_are_named_for_what_they_are(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "resnet50.pth"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_checkpoint(file)
    assert str(file) in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(InputError, match="cannot be read"):
            read_checkpoint(file)


def test_an_archive_that_swells_and_one_of_other_things_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", b"\0" * (1 << 25))
    with pytest.raises(InputError, match=r"unpack to 0\.0 GB"):
        read_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("resnet50.pth", b"weights")
    with pytest.raises(InputError, match="unpack it"):
        read_checkpoint(file)


def test_numbers_of_torch_are_mapped_and_not_copied(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10_000_000)}, tmp_path / "weights.pt")
    script = """
        import pathlib, resource, sys, torch
        from conceptrsa.analysis.models.weights.tensors import read_checkpoint

        read = read_checkpoint(pathlib.Path(sys.argv[1]))
        private = pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
        read["w"].sum()
        after = pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
        print(int(after) - int(private))
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured on Linux")
    run = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "weights.pt")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000
