"""Picture networks are run on any threads, in any batches: the bits never change, nothing stays."""

import copy
import gc
import threading
import time
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import small_networks
import torch
from reference_torch import plain_torch
from small_networks import SMALL, as_input
from timm.layers import GroupNormAct, StdConv2d
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn

from conceptrsa.analysis.models.extraction_settings import ExtractionSettings
from conceptrsa.analysis.models.networks import running
from conceptrsa.analysis.models.networks.running import choose_device, run_batches, use_onednn
from conceptrsa.analysis.models.networks.vision import ImageNetwork
from conceptrsa.bids_config.errors import InputError

same_weights_and_one_thread = small_networks.same_weights_and_one_thread
pictures, resnet = small_networks.pictures, small_networks.resnet


def test_one_pass_for_all_layers(resnet: ImageNetwork, pictures: list[Path]) -> None:
    names = resnet.layers("all")
    passes: list[Tensor] = []
    hook = resnet.module.conv1.register_forward_pre_hook(lambda *given: passes.append(given[1][0]))
    resnet.extract(pictures[:3], names, "mean")
    hook.remove()
    assert [given.shape[0] for given in passes] == [1, 1, 1]


@pytest.mark.parametrize(("n_threads", "batch_size"), [(1, 1), (2, 1), (3, 2), (2, 7)])
def test_features_are_the_same_bits_in_any_company(
    resnet: ImageNetwork, pictures: list[Path], n_threads: int, batch_size: int
) -> None:
    names = ("layer1.0.relu_1", "layer3", "avgpool", "fc")
    alone = [resnet.extract([file], names, "mean") for file in pictures]
    settings = ExtractionSettings(n_threads=n_threads, batch_size=batch_size)
    batches = list(run_batches(resnet, pictures, names, "mean", settings))
    together = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
    for name in names:
        np.testing.assert_array_equal(together[name], np.concatenate([a[name] for a in alone]))
    assert len(np.unique(together["avgpool"], axis=0)) == len(pictures)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_threads_do_not_mix_their_layers(pictures: list[Path], n_threads: int) -> None:
    """Every thread is held inside its pass until all are there."""
    barrier = threading.Barrier(n_threads)
    surveys: list[int] = []

    class Waiting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Identity(), nn.Identity()

        def forward(self, given: Tensor) -> Tensor:
            first = self.first(given)
            if len(given) == 1:
                barrier.wait(timeout=20)
            else:
                surveys.append(len(given))
                time.sleep(0.05)
            return self.second(first)

    network = ImageNetwork(Waiting(), SMALL)
    names = ("first", "second")
    batches = run_batches(
        network, pictures[:4], names, "flatten", ExtractionSettings(n_threads=n_threads)
    )
    for file, batch in zip(pictures[:4], batches, strict=True):
        for name in names:
            np.testing.assert_array_equal(batch[name], as_input(file).flatten(1).numpy())
    assert surveys == [2]


@pytest.mark.parametrize("kernel", [1, 3])
def test_one_picture_on_one_thread_is_convolved_as_batches_on_several(kernel: int) -> None:
    convolution = nn.Conv2d(64, 32, kernel, padding=kernel // 2).eval()
    maps = torch.randn(1, 64, 7, 7)
    with plain_torch():
        expected = convolution(maps.repeat(4, 1, 1, 1))[:1]
    use_onednn(convolution)
    with torch.inference_mode():
        torch.testing.assert_close(convolution(maps), expected, rtol=0, atol=0)


@pytest.mark.parametrize("settings", [{"padding": "same"}, {"padding_mode": "circular"}])
def test_other_convolutions_stay_as_they_are(settings: dict[str, str]) -> None:
    convolution = nn.Conv2d(3, 4, 3, **settings).eval()  # type: ignore[arg-type]
    maps = torch.randn(1, 3, 9, 9)
    expected = convolution(maps)
    use_onednn(convolution)
    torch.testing.assert_close(convolution(maps), expected, rtol=0, atol=0)


def test_standardised_weights_give_the_same_bits(pictures: list[Path]) -> None:
    module = ResNetV2(
        [1, 1], channels=(32, 128), num_classes=0, stem_chs=32, stem_type="fixed",
        conv_layer=StdConv2d, norm_layer=partial(GroupNormAct, num_groups=8),
    )  # fmt: skip
    original = copy.deepcopy(module).eval()
    assert any(isinstance(part, StdConv2d) for part in original.modules())
    network = ImageNetwork(module, SMALL)
    standardised = [part for part in module.modules() if isinstance(part, StdConv2d)]
    assert all(part.forward.func is nn.Conv2d.forward for part in standardised)
    found = network.extract(pictures[:1], ("stages.1", "head"), "flatten")
    with plain_torch():
        expected = original(as_input(pictures[0]).repeat(2, 1, 1, 1))[:1]
    np.testing.assert_array_equal(found["head"], expected.numpy())


def test_batches_come_in_order_and_as_they_are_fetched() -> None:
    class Result:
        def __init__(self, inputs: Sequence[int]) -> None:
            self.inputs = inputs

    alive: weakref.WeakSet[Result] = weakref.WeakSet()
    most = 0

    class Counting:
        is_thread_safe = True

        def layers(self, which: str) -> tuple[str, ...]:
            return ("only",)

        def extract(self, inputs: Sequence[int], layers: Sequence[str], pooling: str) -> dict:
            if 30 in inputs:
                raise InputError("30 cannot be read")
            result = Result(inputs)
            alive.add(result)
            return {"only": result}

    fetched = []
    with pytest.raises(InputError, match="30 cannot be read"):
        for batch in run_batches(
            Counting(), range(100), ("only",), "mean", ExtractionSettings(n_threads=2, batch_size=3)
        ):
            most = max(most, len(alive))
            fetched += batch["only"].inputs
    assert fetched == list(range(30))
    assert most <= 2 * 2 + 1


def test_an_extractor_is_called_by_one_thread_unless_it_says_that_it_takes_more() -> None:
    inside = threading.Lock()

    class Fragile:
        def layers(self, which: str) -> tuple[str, ...]:
            return ("only",)

        def extract(self, inputs: Sequence[int], layers: Sequence[str], pooling: str) -> dict:
            assert inside.acquire(blocking=False)
            time.sleep(0.01)
            inside.release()
            return {"only": np.array(inputs)}

    batches = run_batches(Fragile(), range(6), ("only",), "mean", ExtractionSettings(n_threads=3))
    assert [value for batch in batches for value in batch["only"]] == list(range(6))


def test_nothing_stays_in_memory(resnet: ImageNetwork, pictures: list[Path]) -> None:
    def n_tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    names = resnet.layers("all")
    list(run_batches(resnet, pictures[:1], names, "flatten", ExtractionSettings()))
    before = n_tensors()
    for batch in run_batches(resnet, pictures, names, "flatten", ExtractionSettings()):
        del batch
    assert n_tensors() == before


def test_settings_of_torch_are_put_back(resnet: ImageNetwork, pictures: list[Path]) -> None:
    def settings() -> tuple[object, ...]:
        backends = torch.backends
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_inference_mode_enabled(),
            backends.cudnn.benchmark,
            backends.cudnn.allow_tf32,
            backends.cuda.matmul.allow_tf32,
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = settings()
        for _ in run_batches(
            resnet, pictures[:3], ("fc",), "mean", ExtractionSettings(n_threads=2)
        ):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_inference_mode_enabled()
        assert settings() == before
        next(iter(run_batches(resnet, pictures, ("fc",), "mean", ExtractionSettings(n_threads=2))))
        gc.collect()
        assert settings() == before
    finally:
        torch.set_num_threads(threads)


def test_a_device_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(running.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(running.torch.backends.mps, "is_available", lambda: False)
    for absent in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"no {absent} device.*--device cpu"):
            choose_device(absent)  # type: ignore[arg-type]
