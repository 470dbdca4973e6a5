"""MMV's checkpoint with random weights, and its picture network written a second time, in NumPy.

Names, nesting and shapes are those that the authors' code makes with dm-haiku
(google-deepmind/deepmind-research, mmv: AudioTextVideoEmbedding with the configuration of
`config.get_model_config("mmv_tsm_resnet_x1")`); of what is not the picture network, some of each
kind. Nothing here uses the code under test.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = dict[str, dict[str, Array]]

MODEL = "text_audio_video"
TOWER = f"{MODEL}/visual_module/~/TSMResNetV2"
NORM = "__cross_replica_batch_norm"
N_BLOCKS = (3, 4, 6, 3)
HEADS = f"{MODEL}/~_get_pair_embedding_heads"
OTHER_WEIGHTS = {
    f"{MODEL}/text_module/~/embed": {"embeddings": (11, 5)},
    f"{MODEL}/text_module/~/text_conv1": {"b": (7,), "w": (1, 5, 7)},
    f"{MODEL}/audio_module/~/res_net_v2/~/initial_conv": {"w": (7, 7, 1, 4)},
    f"{MODEL}/audio_module/~/res_net_v2/{NORM}": {"offset": (1, 1, 1, 4), "scale": (1, 1, 1, 4)},
    f"{HEADS}/vis_embd/final_projection": {"b": (3,), "w": (6, 3)},
    f"{HEADS}/vis_embd/{NORM}": {"offset": (1, 3), "scale": (1, 3)},
}
OTHER_STATE = {
    f"{MODEL}/audio_module/~/res_net_v2/{NORM}": (1, 1, 1, 4),
    f"{HEADS}/vis_embd/{NORM}": (1, 3),
}


def random_mmv(stem_channels: int, seed: int) -> dict[str, Tensors]:
    """Draw a checkpoint; 64 channels for the published width."""
    draw = np.random.default_rng(seed)
    weights: Tensors = {}
    state: Tensors = {}
    for module, shape in _convolutions(stem_channels):
        gain = np.sqrt(2 / np.prod(shape[:-1]))
        weights[module] = {"w": _single(gain * draw.standard_normal(shape))}
    for module, channels in _norms(stem_channels):
        shape = (1, 1, 1, channels)
        weights[module] = {
            "offset": _single(0.3 * draw.standard_normal(shape)),
            "scale": _single(draw.uniform(0.5, 1.5, shape)),
        }
        state |= _moving_averages(module, shape, draw)
    for module, shapes in OTHER_WEIGHTS.items():
        weights[module] = {
            name: _single(draw.standard_normal(size)) for name, size in shapes.items()
        }
    for module, size in OTHER_STATE.items():
        state |= _moving_averages(module, size, draw)
    return {"params": weights, "state": state}


def _convolutions(stem_channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give names and shapes of kernels: height, width, input, output."""
    yield f"{TOWER}/tsm_resnet_stem", (7, 7, 3, stem_channels)
    before = stem_channels
    for unit, n_blocks in enumerate(N_BLOCKS):
        after = stem_channels * 4 * 2**unit
        for block in range(n_blocks):
            module = f"{TOWER}/tsm_resnet_unit_{unit}/block_{block}"
            if block == 0:
                yield f"{module}/shortcut_conv", (1, 1, before, after)
            yield f"{module}/conv_0", (1, 1, before, after // 4)
            yield f"{module}/conv_1", (3, 3, after // 4, after // 4)
            yield f"{module}/conv_2", (1, 1, after // 4, after)
            before = after


def _norms(stem_channels: int) -> Iterator[tuple[str, int]]:
    """Give names and numbers of channels."""
    before = stem_channels
    for unit, n_blocks in enumerate(N_BLOCKS):
        after = stem_channels * 4 * 2**unit
        for block in range(n_blocks):
            module = f"{TOWER}/tsm_resnet_unit_{unit}/block_{block}/{NORM}"
            yield from ((module, before), (f"{module}_1", after // 4), (f"{module}_2", after // 4))
            before = after
    yield f"{TOWER}/{NORM}", before


def _moving_averages(module: str, shape: tuple[int, ...], draw: np.random.Generator) -> Tensors:
    """Give haiku's averages; `hidden` is what they were before the correction for their start."""
    mean, variance = 0.3 * draw.standard_normal(shape), draw.uniform(0.3, 2.5, shape)
    return {
        f"{module}/~/{name}_ema": {
            "average": _single(average),
            "counter": np.array(7, np.int32),
            "hidden": _single(average * (1 - 0.9**7)),
        }
        for name, average in (("mean", mean), ("var", variance))
    }


def _single(values: Array) -> Array:
    return np.asarray(values, np.float32)


def mmv_features(films: Array, checkpoint: dict[str, Tensors]) -> Array:
    """Run the picture network on films (batch, frames, height, width, 3), in double precision."""
    weights, state = checkpoint["params"], checkpoint["state"]

    def convolve(maps: Array, module: str, stride: int = 1) -> Array:
        kernel = weights[f"{TOWER}/{module}"]["w"].astype(np.float64)
        windows = _windows(maps, kernel.shape[0], stride, 0.0)
        return np.tensordot(windows, kernel, axes=((-2, -1, -3), (0, 1, 2)))

    def normalize(maps: Array, module: str) -> Array:
        name = f"{TOWER}/{module}"
        mean, variance = (
            state[f"{name}/~/{kind}_ema"]["average"].astype(np.float64) for kind in ("mean", "var")
        )
        standard = (maps - mean) / np.sqrt(variance + 1e-5)
        return np.maximum(standard * weights[name]["scale"] + weights[name]["offset"], 0)

    maps = convolve(films.astype(np.float64), "tsm_resnet_stem", 2)
    maps = _windows(maps, 3, 2, -np.inf).max((-2, -1))
    for unit, n_blocks in enumerate(N_BLOCKS):
        for block in range(n_blocks):
            name = f"tsm_resnet_unit_{unit}/block_{block}"
            stride = 2 if unit > 0 and block == 0 else 1
            active = normalize(maps, f"{name}/{NORM}")
            shortcut = convolve(active, f"{name}/shortcut_conv", stride) if block == 0 else maps
            inner = convolve(shift_in_time(active), f"{name}/conv_0")
            inner = convolve(normalize(inner, f"{name}/{NORM}_1"), f"{name}/conv_1", stride)
            maps = shortcut + convolve(normalize(inner, f"{name}/{NORM}_2"), f"{name}/conv_2")
    return normalize(maps, NORM).mean((1, 2, 3))


def shift_in_time(films: Array) -> Array:
    """Give each frame an eighth of the channels of the next, and another of the previous one."""
    eighth = films.shape[-1] // 8
    shifted = films.copy()
    shifted[..., :eighth] = np.roll(films[..., -eighth:], -1, axis=1)
    shifted[:, -1, ..., :eighth] = 0
    shifted[..., -eighth:] = np.roll(films[..., :eighth], 1, axis=1)
    shifted[:, 0, ..., -eighth:] = 0
    return shifted


def _windows(films: Array, size: int, stride: int, outside: float) -> Array:
    """Cut (batch, frames, height, width, channels, size, size) windows with SAME padding.

    The rule is that of TensorFlow's documentation of `tf.nn`, "Notes on padding".
    """
    padding = [(0, 0)] * films.ndim
    for axis in (2, 3):
        rest = films.shape[axis] % stride
        added = max(size - (rest or stride), 0)
        padding[axis] = (added // 2, added - added // 2)
    padded = np.pad(films, padding, constant_values=outside)
    return sliding_window_view(padded, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
