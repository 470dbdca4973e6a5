"""The visual tower of MMV: a ResNet50 for films, whose blocks see a little of neighbouring frames.

Self-Supervised MultiModal Versatile Networks (Alayrac et al., NeurIPS 2020) were trained on sound,
speech and films. Their picture network is a pre-activation ResNet50 (He et al., 2016) with temporal
shifts (TSM, Lin et al., ICCV 2019): before a block's first convolution an eighth of the channels
comes from the frame before and an eighth from the frame after.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from conceptrsa.bids_config.errors import InputError

STEM_CHANNELS = 64
UNITS = ((4, 3, 1), (8, 4, 2), (16, 6, 2), (32, 3, 2))
"""For each unit: channels as a multiple of the stem's, number of blocks, stride of the first."""
BOTTLENECK = 4
SHIFTED = 8
EPSILON = 1e-5


class TsmResNet50(nn.Module):
    """From pictures to the 2048 numbers that feed MMV's projection heads.

    A picture is shown as a film of equal frames. Every module is called once in a forward pass,
    so that a forward hook on any of them takes its output. Inside, frames are the first axis: the
    frames of a picture follow each other, `n_frames` of them, and only `before_head` has one row a
    picture. `output.unflatten(0, (n_pictures, -1)).mean(1)` is thus one row a picture everywhere.

    Parameters
    ----------
    n_frames : int
        Length of the film. A shift brings zeros from before the first and after the last frame,
        so that the number matters though frames are equal.
    stem_channels : int
        64; 128 for the authors' network of twice the width, which gives 4096 numbers.

    Raises
    ------
    InputError
        `n_frames` is less than one.
    """

    def __init__(self, n_frames: int = 1, stem_channels: int = STEM_CHANNELS) -> None:
        super().__init__()
        if n_frames < 1:
            raise InputError(f"n_frames = {n_frames}: give at least one frame.")
        self.n_frames = n_frames
        self.stem = nn.Sequential(
            OrderedDict(
                conv=SameConv2d(3, stem_channels, kernel_size=7, stride=2),
                pool=SameMaxPool2d(kernel_size=3, stride=2),
            )
        )
        self.units = nn.Sequential()
        channels = stem_channels
        for multiple, n_blocks, stride in UNITS:
            self.units.append(Unit(channels, multiple * stem_channels, n_blocks, stride, n_frames))
            channels = multiple * stem_channels
        self.norm = nn.BatchNorm2d(channels, eps=EPSILON)
        self.relu = nn.ReLU()
        self.before_head = FilmMean(n_frames)

    def forward(self, pictures: Tensor) -> Tensor:
        """Give the features of pictures.

        Parameters
        ----------
        pictures : Tensor of shape (batch, 3, height, width)
            Pixels between 0 and 1, of any size.

        Returns
        -------
        Tensor of shape (batch, 2048)
        """
        frames = pictures.repeat_interleave(self.n_frames, dim=0)
        features: Tensor = self.before_head(self.relu(self.norm(self.units(self.stem(frames)))))
        return features


class Unit(nn.Module):
    """Blocks of the same resolution; the first changes resolution and number of channels."""

    def __init__(
        self, in_channels: int, out_channels: int, n_blocks: int, stride: int, n_frames: int
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(in_channels, out_channels, stride, n_frames, first=True))
        for _ in range(n_blocks - 1):
            self.blocks.append(Block(out_channels, out_channels, 1, n_frames, first=False))

    def forward(self, maps: Tensor) -> Tensor:
        """Give (frames, out_channels, height / stride, width / stride)."""
        out: Tensor = self.blocks(maps)
        return out


class Block(nn.Module):
    """A pre-activation bottleneck: norm and ReLU before each convolution, none after the sum."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, n_frames: int, *, first: bool
    ) -> None:
        super().__init__()
        inner = out_channels // BOTTLENECK
        self.norm_0 = nn.BatchNorm2d(in_channels, eps=EPSILON)
        self.shortcut = SameConv2d(in_channels, out_channels, 1, stride) if first else None
        self.shift = TemporalShift(n_frames)
        self.conv_0 = SameConv2d(in_channels, inner, 1)
        self.norm_1 = nn.BatchNorm2d(inner, eps=EPSILON)
        self.conv_1 = SameConv2d(inner, inner, 3, stride)
        self.norm_2 = nn.BatchNorm2d(inner, eps=EPSILON)
        self.conv_2 = SameConv2d(inner, out_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Give (frames, out_channels, height / stride, width / stride)."""
        # In place where nothing else reads what is overwritten: memory takes a quarter of the time.
        active = functional.relu_(self.norm_0(maps))
        shortcut = maps if self.shortcut is None else self.shortcut(active)
        residual = self.conv_0(self.shift(active))
        residual = self.conv_1(functional.relu_(self.norm_1(residual)))
        residual = self.conv_2(functional.relu_(self.norm_2(residual)))
        out: Tensor = residual.add_(shortcut)
        return out


class TemporalShift(nn.Module):
    """Swap the outer channels for those of neighbouring frames, in place.

    The first eighth of the output is the next frame's last eighth, and the last eighth of the
    output is the previous frame's first eighth: as in the authors' code, channels change places.
    """

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames

    def forward(self, maps: Tensor) -> Tensor:
        """Change maps in place, (frames, channels, height, width), and give them."""
        film = maps.unflatten(0, (-1, self.n_frames))
        shifted = film.shape[2] // SHIFTED
        from_next = film[:, 1:, -shifted:].clone()
        film[:, 1:, -shifted:] = film[:, :-1, :shifted]
        film[:, :-1, :shifted] = from_next
        film[:, :1, -shifted:] = film[:, -1:, :shifted] = 0
        return maps


class FilmMean(nn.Module):
    """The mean over space, then over the frames of a picture."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames

    def forward(self, maps: Tensor) -> Tensor:
        """Give (batch, channels) from (batch * n_frames, channels, height, width)."""
        film: Tensor = maps.mean((2, 3)).unflatten(0, (-1, self.n_frames))
        return film.mean(1)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, whose output is the input's size over the stride, rounded up.

    TensorFlow and JAX call it SAME padding: where the number of added pixels is odd, the greater
    part goes below and to the right, which torch's own padding cannot do.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        # Without stride the padding is even, and torch's own needs no copy.
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Give (frames, out_channels, height / stride, width / stride)."""
        kernel_size, stride = self.kernel_size[0], self.stride[0]
        if kernel_size > 1 and stride > 1:
            maps = functional.pad(maps, same_padding(maps, kernel_size, stride))
        return super().forward(maps)


class SameMaxPool2d(nn.Module):
    """The maximum over windows that may stick out of the picture, see `SameConv2d`."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """Give (frames, channels, height / stride, width / stride)."""
        padding = same_padding(maps, self.kernel_size, self.stride)
        # Zeros would beat the negative values at the borders.
        padded = functional.pad(maps, padding, value=float("-inf"))
        return functional.max_pool2d(padded, self.kernel_size, self.stride)


def same_padding(maps: Tensor, kernel_size: int, stride: int) -> tuple[int, ...]:
    """Give the pixels to add left, right, above and below, for `torch.nn.functional.pad`."""
    height, width = maps.shape[-2:]
    padding: list[int] = []
    for length in (width, height):
        n_windows = -(-length // stride)
        added = max((n_windows - 1) * stride + kernel_size - length, 0)
        padding += (added // 2, added - added // 2)
    return tuple(padding)
