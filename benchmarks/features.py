"""Features of 50 pictures from the visual towers of the zoo, against a plain loop in torch.

`python -m benchmarks.features`; exit code 1 where a network is slower than the plain loop, gives
other numbers, or needs more memory than `MEMORY_LIMIT`. Random weights do, as neither time nor
memory depends on them. Ten of the paper's thirteen visual towers are ResNet50s.

Both ways start from files. The plain loop is what anyone would write: batches, as many threads as
torch takes, and for all layers a hook on every module that takes the mean over places. It is timed
for batches as large as ours (1 on the CPU, 32 on CUDA), which ours have to match, and for others
(10 on the CPU, 1 on CUDA). Each network has a process of its own, whose peak memory is read before
the plain loop starts. Loading, which includes finding the layers, is not timed.

`python -m benchmarks.features --pictures 200 1000 10000`: a ResNet50 and so many pictures, the
whole of `conceptrsa features` from checking the pictures to the written folder, loading in it, and
the plain loop with batches of one. Each has a process of its own, so that it can be seen how time
and memory grow. With `--sweep`, every layer; the plain loop then keeps all in memory.
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.timing import best_time
from conceptrsa.analysis.models.extraction_settings import Device, ExtractionSettings
from conceptrsa.analysis.models.trial import peak_megabytes

N_PICTURES, SIZE = 50, (500, 375)
"""Pictures of ImageNet are of that size on average."""
REPETITIONS = 3
REQUIRED_RATIO = 1.0
MEMORY_LIMIT = 2000
"""Megabytes."""
TOLERANCE = {"cpu": 1e-5, "cuda": 1e-3}
"""Of the largest feature: between batches of several sizes, and between devices."""
HEADER = (
    "| network | layers | device | plain loop, same batch (s) | other batch (s) | ours (s) "
    "| ratio, same batch | other | peak memory (MB) | difference |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)

HEADER_BY_NUMBER = (
    "| pictures | layers | plain loop (s) | its CPU (s) | peak memory (MB) "
    "| ours (s) | CPU (s) | peak memory (MB) | ratio of CPU |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Tower:
    """How a network is built, the side of its input, and its last layer."""

    build: Callable[[], Any]
    side: int
    layer: str


@dataclass(frozen=True)
class Measured:
    """What one network took; seconds are the best of several repetitions.

    `difference` is the largest one from the plain loop on the CPU, over the largest feature.
    """

    network: str
    n_layers: int
    device: str
    same_batch: float
    other_batch: float
    ours: float
    peak: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times faster than the plain loop with the same batch."""
        return self.same_batch / self.ours

    @property
    def passed(self) -> bool:
        """Whether speed, numbers and, on the CPU, memory are as required."""
        small = self.device != "cpu" or self.peak < MEMORY_LIMIT
        same = self.difference <= TOLERANCE[self.device]
        return self.ratio >= REQUIRED_RATIO and same and small

    def row(self) -> str:
        return (
            f"| {self.network} | {self.n_layers} | {self.device} | {self.same_batch:.2f} "
            f"| {self.other_batch:.2f} | {self.ours:.2f} | {self.ratio:.2f} "
            f"| {self.other_batch / self.ours:.2f} | {self.peak:.0f} | {self.difference:.0e} |"
            f"{'' if self.passed else ' missed'}"
        )


def resnet50() -> Any:
    import torchvision
    from torch.nn import Identity

    module = torchvision.models.resnet50()
    module.fc = Identity()
    return module


def big_transfer() -> Any:
    import timm

    return timm.create_model("resnetv2_50x1_bit", num_classes=0)


def clip() -> Any:
    import open_clip

    return open_clip.create_model("RN50-quickgelu", load_weights=False).visual


def tsm() -> Any:
    from conceptrsa.analysis.models.networks.tsm import TsmResNet50

    return TsmResNet50()


TOWERS = {
    "ResNet50": Tower(resnet50, 256, "avgpool"),
    "BiT-M": Tower(big_transfer, 256, "head.global_pool"),
    "CLIP": Tower(clip, 224, "attnpool"),
    "TSM": Tower(tsm, 256, "before_head"),
}


def measure(name: str, sweep: bool, device: Device, folder: Path) -> Measured:
    """Time one network in this process."""
    import torch

    from conceptrsa.analysis.models.networks.running import choose_device, run_batches
    from conceptrsa.analysis.models.networks.vision import ImageNetwork, compose
    from conceptrsa.analysis.models.registry import Preprocessing

    tower = TOWERS[name]
    torch.manual_seed(0)
    module = tower.build().eval()
    prepare = Preprocessing(tower.side, tower.side, "bicubic", (0.5,) * 3, (0.25,) * 3)
    files = sorted(folder.iterdir())
    network = ImageNetwork(copy.deepcopy(module), prepare, tower.layer, choose_device(device))
    layers = network.layers("all") if sweep else (tower.layer,)
    settings = ExtractionSettings(device=device)

    def ours() -> np.ndarray:
        batches = run_batches(network, files, layers, "mean", settings)
        return np.concatenate([batch[tower.layer] for batch in batches])

    def loop(batch: int, device: Device) -> np.ndarray:
        return plain_loop(module, transform, files, batch, device)

    same, other = (1, 10) if device == "cpu" else (32, 1)
    ours()
    peak = peak_megabytes()
    transform = compose(prepare)
    expected = loop(10, "cpu")
    module.to(device)
    if sweep:
        hook_all(module)
    ways = (lambda: loop(same, device), lambda: loop(other, device), ours)
    # Turn by turn, so that what else the machine does hits all of them.
    rounds = [[best_time(way, 1) for way in ways] for _ in range(REPETITIONS)]
    same_seconds, other_seconds, own_seconds = (
        min(turn[index][0] for turn in rounds) for index in range(len(ways))
    )
    found = rounds[-1][-1][1]
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Measured(
        name, len(layers), device, same_seconds, other_seconds, own_seconds, peak, difference
    )


def plain_loop(
    module: Any, transform: Any, files: Sequence[Path], batch: int, device: Device = "cpu"
) -> np.ndarray:
    """What anyone would write."""
    import torch

    rows = []
    for start in range(0, len(files), batch):
        some = files[start : start + batch]
        pictures = [transform(Image.open(file).convert("RGB")) for file in some]
        with torch.inference_mode():
            rows.append(module(torch.stack(pictures).to(device)).cpu().numpy())
    return np.concatenate(rows)


@dataclass(frozen=True)
class Spent:
    """What a process took: seconds on the clock and of the processors, megabytes at most."""

    n_layers: int
    wall: float
    cpu: float
    peak: float


def run_many(way: str, sweep: bool, folder: Path) -> Spent:
    """Take a ResNet50's features of a folder of pictures in this process, by one of two ways."""
    import torch

    from conceptrsa.analysis.models.networks.vision import compose
    from conceptrsa.analysis.models.registry import Preprocessing

    start = time.perf_counter()
    if way == "plain":
        torch.manual_seed(0)
        module = resnet50().eval()
        n_layers, kept = 1, []
        if sweep:
            n_layers = hook_all(module, kept.append)
        prepare = Preprocessing(256, 256, "bicubic", (0.5,) * 3, (0.25,) * 3)
        plain_loop(module, compose(prepare), sorted(folder.iterdir()), 1)
    else:
        with TemporaryDirectory(dir=folder.parent) as out:
            n_layers = whole_command(folder, Path(out), ("all",) if sweep else ())
    wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(n_layers, wall, used.ru_utime + used.ru_stime, peak_megabytes())


def whole_command(folder: Path, out: Path, layers: tuple[str, ...]) -> int:
    """Do as `conceptrsa features` with random weights; give the number of layers."""
    import torch
    import torchvision

    from conceptrsa.analysis.files.stimuli import read_stimuli
    from conceptrsa.analysis.models.features import each_features, write_features
    from conceptrsa.analysis.models.weights.places import WeightsOptions

    file = out / "resnet50.pth"
    torch.save(torchvision.models.resnet50().state_dict(), file)
    weights = WeightsOptions(out, {"ResNet50": file}, offline=True, accept_unverified=True)
    settings = ExtractionSettings(layers)
    stimuli = read_stimuli(folder)
    features = each_features(stimuli, ["ResNet50"], out / "cache", settings, weights)
    return write_features(features, out / "features")


def by_number(numbers: Sequence[int], sweep: bool) -> None:
    """Print what both ways take for several numbers of pictures."""
    print(HEADER_BY_NUMBER)
    for number in numbers:
        with TemporaryDirectory() as parent:
            folder = Path(parent) / "pictures"
            folder.mkdir()
            draw_pictures(folder, number)
            plain, ours = (
                Spent(**_of_own_process("--way", way, "--folder", folder, sweep=sweep))
                for way in ("plain", "whole")
            )
        print(
            f"| {number} | {ours.n_layers} | {plain.wall:.0f} | {plain.cpu:.0f} | {plain.peak:.0f} "
            f"| {ours.wall:.0f} | {ours.cpu:.0f} | {ours.peak:.0f} | {plain.cpu / ours.cpu:.2f} |",
            flush=True,
        )


def hook_all(module: Any, keep_for_good: Callable[[Any], None] = lambda mean: None) -> int:
    """Have every module's output averaged over places and kept until the next pass.

    Parameters
    ----------
    module : torch.nn.Module
    keep_for_good : callable
        Given each mean.

    Returns
    -------
    int
        Number of modules.
    """
    means = {}
    for name, part in module.named_modules():

        def keep(part: Any, given: Any, output: Any, name: str = name) -> None:
            means[name] = output.flatten(2).mean(2) if output.ndim > 2 else output.clone()
            keep_for_good(means[name])

        part.register_forward_hook(keep)
    return len(list(module.modules()))


def draw_pictures(folder: Path, number: int = N_PICTURES) -> None:
    """Write smooth random pictures as JPEG, the format of ImageNet."""
    rng = np.random.default_rng(0)
    for index in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg", quality=90)


def in_own_process(name: str, sweep: bool, device: Device, folder: Path) -> Measured:
    given = ("--only", name, "--device", device, "--folder", folder)
    return Measured(**_of_own_process(*given, sweep=sweep))


def _of_own_process(*given: object, sweep: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.features", *map(str, given)]
    command += ["--sweep"] if sweep else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=TOWERS, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=int, nargs="+", metavar="N", help="time and memory by N")
    parser.add_argument("--sweep", action="store_true", help="with --pictures: every layer")
    parser.add_argument("--device", choices=TOLERANCE, help="by default all that are there")
    given = parser.parse_args(arguments)
    if given.only:
        print(json.dumps(asdict(measure(given.only, given.sweep, given.device, given.folder))))
        return 0
    if given.way:
        print(json.dumps(asdict(run_many(given.way, given.sweep, given.folder))))
        return 0
    if given.pictures:
        by_number(given.pictures, given.sweep)
        return 0
    passed = True
    print(HEADER)
    with TemporaryDirectory() as folder:
        draw_pictures(Path(folder))
        for device in [given.device] if given.device else devices():
            for name in TOWERS:
                for sweep in (False, True):
                    measured = in_own_process(name, sweep, device, Path(folder))
                    passed = passed and measured.passed
                    print(measured.row(), flush=True)
    return 0 if passed else 1


def devices() -> list[Device]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


if __name__ == "__main__":
    raise SystemExit(main())
