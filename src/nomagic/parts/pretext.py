"""Pretexts to learn from inputs without labels: each is a module from a batch to a loss.

- **denoising**: a fifth of the numbers is spoilt, all are to be restored (Vincent et al. 2008);
- **masked**: half of the patches, spans, columns or tokens is hidden and to be filled in (He et al.
  2021, MAE);
- **contrastive**: two views of an input are to be told from those of others (Chen et al. 2020,
  SimCLR; for tables Bahri et al. 2022, SCARF);
- **layer-wise**: the historic recipe, a denoising autoencoder for one layer after the other (Bengio
  et al. 2007, Vincent et al. 2010).

What is drawn comes from torch's random state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.parts import augment, flow
from nomagic.parts.presets import kinds
from nomagic.parts.scaling import mean_and_deviation
from nomagic.parts.trunk import Trunk
from nomagic.words import Form

Kind = Literal["denoising", "masked", "contrastive", "layer-wise"]
KINDS: tuple[Kind, ...] = ("masked", "contrastive", "denoising", "layer-wise")

SPOILT, HIDDEN, SWAPPED = 0.2, 0.5, 0.6
"""Shares that are spoilt (denoising, layer-wise), hidden (masked), swapped in a table's view."""
TEMPERATURE = 0.5
"""Of the contrastive loss, as SimCLR for small batches."""
WIDTH = 256
"""Hidden units of a decoder at most; fewer, where there are fewer features."""
WIDEST = 1_024
"""Numbers of features that are looked at one by one; of more, their means over places."""
LONGEST = 65_536
"""Numbers that are restored at most."""


class PretextError(ValueError):
    """A pretext that makes no sense for a network or its inputs: says why."""


def phases(found: Trunk, some: Tensor, form: Form, kind: Kind) -> list[nn.Module]:
    """What is trained, one after the other: modules from a batch of inputs to a loss.

    Args:
        found: the network that learns.
        some: inputs as it sees them (n, *shape), from which mean and deviation are taken.
        form: the form of these inputs.
        kind: what is learnt.

    Raises:
        PretextError: it makes no sense for these inputs, or for this network.
    """
    if kind == "contrastive":
        return [Contrast(found, views(form, some))]
    if kind == "layer-wise":
        return list(_layers(found, some[:4]))
    spoiling = Spoiling(kinds.kind(form), some, kind == "masked")
    return [Restoring(found, spoiling, some, form.tokens)]


# -- restoring --------------------------------------------------------------------------------


class Spoiling:
    """Spoils inputs: by the mean, or in tables and of tokens by what other samples have there.

    Args:
        what: what the inputs are.
        some: inputs (n, *shape).
        masked: hide half of the patches, spans, columns or tokens, not a fifth of all numbers.
    """

    def __init__(self, what: kinds.Kind, some: Tensor, masked: bool) -> None:
        self.what, self.masked = what, masked
        self.share = HIDDEN if masked else SPOILT
        self.centre = some.mean() if some.is_floating_point() else None
        self.dims = 2 if what == "image" else 1
        side = min(some.shape[-self.dims :])
        parts = {"image": 7, "waveform": 32, "series": 16}.get(what, side)
        self.size = max(2 if what == "image" else 1, side // parts) if masked else 1

    def hidden(self, x: Tensor) -> Tensor:
        """Which numbers are spoilt (n, *shape); at places, all channels are."""
        lasting = x.shape[-self.dims :]
        coarse = [math.ceil(side / self.size) for side in lasting]
        between = (1,) * (x.ndim - 1 - self.dims)
        found = torch.rand((len(x), *between, *coarse), device=x.device) < self.share
        for dim, side in zip(range(-self.dims, 0), lasting, strict=True):
            found = found.repeat_interleave(self.size, dim).narrow(dim, 0, side)
        return found.expand_as(x)

    def fill(self, x: Tensor) -> Tensor:
        """What stands where something is spoilt."""
        if self.centre is None or self.what == "table":
            return swapped(x)
        return self.centre.to(x).expand_as(x)


def swapped(x: Tensor) -> Tensor:
    """Each number from another sample, drawn anew for each place."""
    return x.gather(0, torch.randint(len(x), x.shape, device=x.device))


class Restoring(nn.Module):
    """The trunk sees spoilt inputs; a small decoder restores them from its features.

    Numbers are standardised, columns of a table each; of waveforms the spectrum is restored. The
    loss counts hidden places (masked) or all. ``tokens`` is the size of the vocabulary, else 0.
    """

    def __init__(self, found: Trunk, spoiling: Spoiling, some: Tensor, tokens: int = 0) -> None:
        super().__init__()
        self.found, self.model, self.spoiling = found, found.model, spoiling
        self.spectrum, self.tokens = spoiling.what == "waveform", tokens
        wanted = self.wanted(some)
        columns = wanted if spoiling.what == "table" else wanted.reshape(-1, 1)
        self.centre, self.spread = mean_and_deviation(columns.float())
        outputs = wanted[0].numel() * max(1, self.tokens)
        if outputs > LONGEST:
            raise PretextError(
                f"inputs have {outputs:,} numbers to be restored, and at most {LONGEST:,} are: "
                "take contrastive pre-training, or make inputs smaller"
            )
        features = flat(found, some[:2]).shape[1]
        width = min(WIDTH, features)
        self.decoder = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, outputs)
        )

    def wanted(self, x: Tensor) -> Tensor:
        """What is to be restored of inputs."""
        return spectrum(x) if self.spectrum else x

    def forward(self, x: Tensor) -> Tensor:
        """The loss of a batch (n, *shape)."""
        hidden = self.spoiling.hidden(x)
        found = self.decoder(flat(self.found, torch.where(hidden, self.spoiling.fill(x), x)))
        wanted = self.wanted(x)
        if self.tokens:
            logits = found.reshape(*x.shape, self.tokens)
            losses = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
        else:
            wanted = (wanted - self.centre) / self.spread
            losses = (found.reshape(wanted.shape) - wanted).square().flatten()
        counted = self.spoiling.masked and not self.spectrum
        return losses[hidden.flatten()].mean() if counted and bool(hidden.any()) else losses.mean()


def flat(found: Trunk, x: Tensor) -> Tensor:
    """Features of inputs as rows (n, features), of many the means over places."""
    large = math.prod(found.shape) > WIDEST
    return found.vectors(x) if large else found.features(x).flatten(1)


FRAMES, BANDS = 32, 32


def spectrum(x: Tensor) -> Tensor:
    """The logarithm of the energy of waveforms (n, …, samples) in 32 frames and 32 bands."""
    waves = x.reshape(-1, x.shape[-1]).float()
    size = min(256, x.shape[-1])
    window = torch.hann_window(size, device=x.device)
    energy = torch.stft(waves, size, size // 2, window=window, return_complex=True).abs().square()
    pooled = F.adaptive_avg_pool2d(energy.unsqueeze(1), (BANDS, FRAMES)).squeeze(1)
    return (pooled + 1e-6).log().reshape(len(x), -1)


# -- telling views apart ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Swap:
    """Some numbers from other samples: the view of a table or of tokens."""

    share: float = SWAPPED

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, partly swapped."""
        return torch.where(torch.rand(x.shape, device=x.device) < self.share, swapped(x), x)


def views(form: Form, some: Tensor) -> tuple[augment.Step, ...]:
    """The steps that make a view of inputs (n, *shape), by what they are."""
    what = kinds.kind(form)
    if what == "image":
        side = min(some.shape[-2:])
        flip = (augment.Flip(),) if augment.photos(form, some) else ()
        shift = augment.Shift(max(1, side // 8))
        colours = augment.ColourJitter(0.4, 0.4, 0.4)
        steps = (augment.Affine(15, 0.15), colours, augment.Erase(0.5), augment.Noise(0.2))
        return (*flip, shift, *steps)
    if what == "waveform":
        steps = (augment.TimeShift(), augment.Speed(), augment.Gain(), augment.Hiss())
        return (*steps, augment.TimeMask(0.2))
    if what == "series":
        return (augment.Gain(), augment.Noise(0.3), augment.TimeMask(0.3))
    if what == "table":
        return (Swap(),)
    if what == "tokens":
        return (Swap(SPOILT),)
    raise PretextError(
        f"no views are known of inputs of shape {tuple(some.shape[1:])}: take masked pre-training"
    )


class Contrast(nn.Module):
    """Two views of each input are to be nearer to each other than to those of other inputs."""

    def __init__(self, found: Trunk, steps: Sequence[augment.Step]) -> None:
        super().__init__()
        self.found, self.model, self.steps = found, found.model, tuple(steps)
        width = min(128, found.channels)
        self.project = nn.Sequential(
            nn.Linear(found.channels, width), nn.ReLU(), nn.Linear(width, 64)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The loss of a batch (n, *shape), NT-Xent."""
        one, other = self.view(x), self.view(x)
        points = F.normalize(self.project(self.found.vectors(torch.cat([one, other]))), dim=1)
        near = points @ points.T / TEMPERATURE
        near = near.masked_fill(torch.eye(len(near), dtype=torch.bool, device=x.device), -math.inf)
        partner = torch.arange(len(near), device=x.device).roll(len(x))
        return F.cross_entropy(near, partner)

    def view(self, x: Tensor) -> Tensor:
        """The batch, varied by each step."""
        for step in self.steps:
            x = step(x)
        return x


# -- layer by layer ---------------------------------------------------------------------------


def _layers(found: Trunk, sample: Tensor) -> Iterator[nn.Module]:
    """The phases of the historic recipe: hidden linear and convolutional layers, in order."""
    seen = flow.observe(found.model, sample)
    layers = [
        call
        for call in seen.layers()
        if call.module is not found.head and len(seen.of(call.module or found.head)) == 1
    ]
    if not layers:
        raise PretextError(
            "no linear or convolutional layer is followed by a unit and called once: layer-wise "
            "pre-training has nothing to stack; take another kind"
        )
    for call in layers:
        unit = seen.unit(call)
        assert isinstance(call.module, flow.LAYERS), "layers() gives these"
        assert unit is not None, "layers() gives those with a unit"
        yield Layer(found.model, call.module, flow.UNITS[unit.name]())


class Layer(nn.Module):
    """One layer and its unit as a denoising autoencoder of what the layers below it give."""

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d,
        unit: nn.Module,
    ) -> None:
        super().__init__()
        self.below = (model,)  # in a tuple, so that it is not trained
        self.layer, self.unit = layer, unit
        self.decoder = _mirror(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The loss of a batch (n, *shape): the share of the variance that is not restored."""
        given = self.given(x)
        kept = torch.rand(given.shape, device=given.device) >= SPOILT
        code = self.unit(self.layer(given * kept))
        convolved = not isinstance(self.layer, nn.Linear)
        size = {"output_size": given.shape[2:]} if convolved else {}
        error = (self.decoder(code, **size) - given).square().mean()
        return error / given.var().clamp(min=1e-6)

    @torch.no_grad()
    def given(self, x: Tensor) -> Tensor:
        """What the layer is given for inputs."""
        seen: list[Tensor] = []
        handle = self.layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            self.below[0](x)
        finally:
            handle.remove()
        return seen[0]


def _mirror(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> nn.Module:
    """A layer from the outputs of another one back to its inputs."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.out_features, layer.in_features)
    back = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(layer.kernel_size) - 1]
    given: dict[str, Any] = {
        name: getattr(layer, name) for name in ("kernel_size", "stride", "dilation", "groups")
    }
    given["padding"] = layer.padding
    if isinstance(layer.padding, str):
        reach = [(k - 1) * d // 2 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        given["padding"] = tuple(reach) if layer.padding == "same" else 0
    return back(layer.out_channels, layer.in_channels, **given)
