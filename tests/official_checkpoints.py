"""Random weights in the very layout in which the paper's visual networks are published.

Each writer draws a network, saves it as its authors do (names, nesting, wrappers, file format), and
gives the authors' forward pass on pictures beside it: what a loader must reproduce. Sources are
named at each writer. Nothing here uses the code under test.
"""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import dill
import numpy as np
import torch
import torch.nn.functional as F
from mmv_checkpoint import mmv_features, random_mmv
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.models import ResNet, resnet50

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Features = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


class OfficialCheckpoint(NamedTuple):
    """A file, and what its network gives for pictures: (pictures, features)."""

    file: Path
    reference: Callable[[Sequence[Path]], Features]


def write_torchvision(folder: Path, seed: int) -> OfficialCheckpoint:
    """ResNet50: a state dictionary of parameters (torch.hub: `resnet50(weights=...)`)."""
    network = random_resnet50(seed)
    file = folder / "resnet50-0676ba61.pth"
    torch.save(network.state_dict(keep_vars=True), file)
    return OfficialCheckpoint(file, resnet50_features(network))


def write_virtex(folder: Path, seed: int) -> OfficialCheckpoint:
    """VirTex: a resnet50 whose last layer is an identity (kdexd/virtex, hubconf.py)."""
    network = random_resnet50(seed)
    reference = resnet50_features(network)
    network.fc = nn.Identity()
    file = folder / "backbone_bicaptioning_R_50_L1_H2048.pth"
    torch.save(network.state_dict(), file)
    return OfficialCheckpoint(file, reference)


def write_icmlm(folder: Path, seed: int) -> OfficialCheckpoint:
    """ICMLM: as far as it is known, `checkpoint["cnn"]` (bdvllrs/generalization-vision)."""
    network = random_resnet50(seed)
    reference = resnet50_features(network)
    network.fc = nn.Identity()
    file = folder / "icmlm-attfc_r50_coco_5K.pth"
    torch.save({"cnn": network.state_dict()}, file)
    return OfficialCheckpoint(file, reference)


def write_stylized(folder: Path, seed: int) -> OfficialCheckpoint:
    """SIN: what PyTorch's ImageNet example saves, from a GPU, in the format of 2018.

    rgeirhos/texture-vs-shape, README.md and models/load_pretrained_models.py.
    """
    network = random_resnet50(seed)
    parallel = nn.DataParallel(network)
    checkpoint = {
        "epoch": 60,
        "arch": "resnet50",
        "state_dict": parallel.state_dict(),
        "best_prec1": torch.tensor(60.18),
        "optimizer": optimizer_state(parallel),
    }
    file = folder / "resnet50_train_60_epochs-c8e5653e.pth.tar"
    save_from_gpu(checkpoint, file)
    return OfficialCheckpoint(file, resnet50_features(network))


def write_robust(folder: Path, seed: int) -> OfficialCheckpoint:
    """AR-L2, AR-Linf4, AR-Linf8: an AttackerModel and its optimizer, pickled by dill.

    MadryLab/robustness, attacker.py, train.py (`sd_info`), README.rst (torch 1.1.0, dill 0.2.9).
    """
    network = random_resnet50(seed)
    attacked = nn.DataParallel(AttackerModel(network))
    checkpoint = {
        "model": attacked.state_dict(),
        "optimizer": optimizer_state(attacked),
        "schedule": {"step_size": 50, "gamma": 0.1, "base_lrs": [0.1], "last_epoch": 104},
        "epoch": 105,
    }
    file = folder / "imagenet_l2_3_0.pt"
    save_from_gpu(checkpoint, file, dill)

    @torch.inference_mode()
    def reference(pictures: Sequence[Path]) -> Features:
        # The network's own normalizer takes pixels between 0 and 1.
        pixels = preprocess(pictures, 256)
        return resnet50_pooled(network, attacked.module.normalizer(pixels))

    return OfficialCheckpoint(file, reference)


def write_clip(folder: Path, seed: int) -> OfficialCheckpoint:
    """CLIP: OpenAI's own network in half precision, as a TorchScript archive (clip/clip.py).

    The text tower is small: its tensors have their names, and nothing of it is used.
    """
    torch.manual_seed(seed)
    code = openai_code()
    network = code.CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 64, 64, 1, 2)
    # The pool takes maps of 224 pixels only.
    with mock.patch.object(network.visual, "attnpool", nn.Identity()):
        randomize_norms(network, network.visual)
    archive = trace_like_openai(network, code)
    file = folder / "RN50.pt"
    archive.save(str(file))
    # On a CPU OpenAI's loader computes in single precision with the weights rounded to half.
    code.convert_weights(network)
    network.float()

    @torch.inference_mode()
    def reference(pictures: Sequence[Path]) -> Features:
        inputs = preprocess(pictures, 224, CLIP_MEAN, CLIP_STD)
        return as_array(network.encode_image(inputs))

    return OfficialCheckpoint(file, reference)


def write_bit(folder: Path, seed: int) -> OfficialCheckpoint:
    """BiT-M: TensorFlow's variables as npz (google-research/big_transfer, bit_pytorch/models.py).

    Of the head nothing but its shape is used.
    """
    weights = random_bit(np.random.default_rng(seed))
    file = folder / "BiT-M-R50x1.npz"
    np.savez(file, **weights)  # type: ignore[arg-type]

    @torch.inference_mode()
    def reference(pictures: Sequence[Path]) -> Features:
        return bit_features(weights, preprocess(pictures, 256, (0.5,) * 3, (0.5,) * 3))

    return OfficialCheckpoint(file, reference)


def write_tsm(folder: Path, seed: int) -> OfficialCheckpoint:
    """TSM: dm-haiku's arrays, pickled by dill (google-deepmind/deepmind-research, mmv)."""
    checkpoint = random_mmv(64, seed)
    file = folder / "mmv_tsm_resnet_x1.pkl"
    file.write_bytes(dill.dumps(checkpoint))

    def reference(pictures: Sequence[Path]) -> Features:
        films = preprocess(pictures, 256).movedim(1, -1)[:, None].numpy()
        return mmv_features(films, checkpoint).astype(np.float32)

    return OfficialCheckpoint(file, reference)


# ------------------------------------------------------------------------------ pictures


def preprocess(
    pictures: Sequence[Path],
    size: int,
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (1, 1, 1),
) -> Tensor:
    """The authors' way (bdvllrs/generalization-vision, `get_imagenet_transform`; CLIP's own)."""
    steps = transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            lambda picture: picture.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    return torch.stack([steps(Image.open(picture)) for picture in pictures])


def as_array(features: Tensor) -> Features:
    return features.float().numpy()


# ------------------------------------------------------------------------------ ResNet50


def random_resnet50(seed: int) -> ResNet:
    torch.manual_seed(seed)
    network = resnet50()
    randomize_norms(network, network)
    return network


@torch.no_grad()
def randomize_norms(network: nn.Module, visual: nn.Module) -> None:
    """Give scales, shifts and statistics as after training, so that a lost one would be noticed.

    The statistics are those of drawn pictures: with others, layer after layer would give the same
    for every picture.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.4, 1.0)
            module.bias.normal_(0, 0.1)
            module.momentum = 1.0
    coarse = torch.randn(6, 3, 7, 7)
    network.train()
    visual(F.interpolate(coarse, size=(128, 128), mode="bicubic"))
    network.eval()


def resnet50_features(network: ResNet) -> Callable[[Sequence[Path]], Features]:
    @torch.inference_mode()
    def reference(pictures: Sequence[Path]) -> Features:
        inputs = preprocess(pictures, 256, IMAGENET_MEAN, IMAGENET_STD)
        return resnet50_pooled(network, inputs)

    return reference


def resnet50_pooled(network: ResNet, inputs: Tensor) -> Features:
    """The input of the last layer: the forward pass with an identity in its place."""
    with mock.patch.object(network, "fc", nn.Identity()):
        return as_array(network(inputs))


class InputNormalize(nn.Module):
    """robustness, tools/helpers.py."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("new_mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("new_std", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.clamp(0, 1) - self.new_mean) / self.new_std


class Attacker(nn.Module):
    """robustness, attacker.py: looks for the attack."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.normalize = InputNormalize()
        self.model = model


class AttackerModel(nn.Module):
    """robustness, attacker.py: the network and, with the same weights, its attacker."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.normalizer = InputNormalize()
        self.model = model
        self.attacker = Attacker(model)


def optimizer_state(network: nn.Module) -> dict[str, Any]:
    """State of an optimizer in the middle of training."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for parameter in network.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros(1).expand_as(parameter)
    return optimizer.state_dict()


def save_from_gpu(
    checkpoint: object, file: Path, pickler: Any = torch.serialization.pickle
) -> None:
    """Save in the format before torch 1.6, with tensors that say they lie on a GPU."""
    with mock.patch.object(torch.serialization, "location_tag", lambda storage: "cuda:0"):
        torch.save(checkpoint, file, pickle_module=pickler, _use_new_zipfile_serialization=False)


# ---------------------------------------------------------------------------------- CLIP


def openai_code() -> ModuleType:
    """OpenAI's clip/model.py; the package around it needs an outdated setuptools."""
    package = importlib.util.find_spec("clip")
    assert package is not None and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "model.py"
    spec = importlib.util.spec_from_file_location("openai_clip_model", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trace_like_openai(network: nn.Module, code: ModuleType) -> torch.jit.ScriptModule:
    """An archive with OpenAI's methods and buffers, its weights in half precision."""
    sizes = {"input_resolution": 224, "context_length": 77, "vocab_size": 64}
    for name, size in sizes.items():
        network.__dict__.pop(name, None)
        network.register_buffer(name, torch.tensor(size))
    picture, text = torch.zeros(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.int64)
    calls = {"forward": (picture, text), "encode_image": (picture,), "encode_text": (text,)}
    with warnings.catch_warnings():
        # The branches that the trace does not keep depend on shapes only.
        warnings.simplefilter("ignore")
        archive = torch.jit.trace_module(network, calls, check_trace=False)
    # Converted only now: a CPU traces half precision slowly.
    halved = code.CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 64, 64, 1, 2)
    code.convert_weights(halved)
    types = {name: parameter.dtype for name, parameter in halved.named_parameters()}
    for name, parameter in archive.named_parameters():
        parameter.data = parameter.data.to(types[name])
    return archive


# ----------------------------------------------------------------------------------- BiT

BIT_UNITS = (3, 4, 6, 3)
BIT_GROUPS = 32
BIT_CLASSES = 21843
BIT_CONV = "standardized_conv2d/kernel"


def random_bit(random: np.random.Generator) -> Arrays:
    """Variables of BiT's R50x1. Small kernels, so that the standardization's epsilon matters."""
    weights: Arrays = {}

    def kernel(name: str, size: int, n_in: int, n_out: int) -> None:
        values = random.normal(0.002, 0.01, (size, size, n_in, n_out))
        weights[f"resnet/{name}"] = values.astype(np.float32)

    def norm(name: str, channels: int) -> None:
        weights[f"resnet/{name}group_norm/gamma"] = random.uniform(0.5, 1.5, channels).astype("f4")
        weights[f"resnet/{name}group_norm/beta"] = random.normal(0, 0.2, channels).astype("f4")

    kernel(f"root_block/{BIT_CONV}", 7, 3, 64)
    channels = 64
    for block, n_units in enumerate(BIT_UNITS, start=1):
        width = 64 * 2 ** (block - 1)
        for unit in range(1, n_units + 1):
            place = f"block{block}/unit{unit:02d}"
            if unit == 1:
                kernel(f"{place}/a/proj/{BIT_CONV}", 1, channels, 4 * width)
            for part, size, n_in, n_out in (
                ("a", 1, channels, width),
                ("b", 3, width, width),
                ("c", 1, width, 4 * width),
            ):
                norm(f"{place}/{part}/", n_in)
                kernel(f"{place}/{part}/{BIT_CONV}", size, n_in, n_out)
            channels = 4 * width
    norm("", channels)
    # Bytes in place of single precision, to be written faster.
    weights["resnet/head/conv2d/kernel"] = np.zeros((1, 1, channels, BIT_CLASSES), np.int8)
    weights["resnet/head/conv2d/bias"] = random.normal(0, 1, BIT_CLASSES).astype("f4")
    return weights


def bit_features(weights: Arrays, inputs: Tensor) -> Features:
    """BiT's forward pass up to its head, from the variables' names alone."""

    def conv(maps: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = torch.from_numpy(weights[f"resnet/{name}{BIT_CONV}"]).double()
        centred = kernel - kernel.mean((0, 1, 2))
        standard = centred / torch.sqrt(centred.square().mean((0, 1, 2)) + 1e-10)
        padding = kernel.shape[0] // 2
        return F.conv2d(maps, standard.permute(3, 2, 0, 1).to(maps), None, stride, padding)

    def norm_relu(maps: Tensor, name: str) -> Tensor:
        gamma, beta = (
            torch.from_numpy(weights[f"resnet/{name}group_norm/{part}"]).to(maps)
            for part in ("gamma", "beta")
        )
        return F.relu(F.group_norm(maps, BIT_GROUPS, gamma, beta, eps=1e-5))

    maps = conv(inputs, "root_block/", stride=2)
    # Zeros around the maps, where torch's padding of a maximum would count nothing.
    maps = F.max_pool2d(F.pad(maps, (1, 1, 1, 1)), 3, 2)
    for block, n_units in enumerate(BIT_UNITS, start=1):
        for unit in range(1, n_units + 1):
            place = f"block{block}/unit{unit:02d}"
            stride = 2 if unit == 1 and block > 1 else 1
            active = norm_relu(maps, f"{place}/a/")
            short = conv(active, f"{place}/a/proj/", stride) if unit == 1 else maps
            inner = norm_relu(conv(active, f"{place}/a/"), f"{place}/b/")
            inner = norm_relu(conv(inner, f"{place}/b/", stride), f"{place}/c/")
            maps = short + conv(inner, f"{place}/c/")
    return as_array(norm_relu(maps, "").mean((2, 3)))
