"""From placed layers to one network: every layer as the configuration defines it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from backtester_model_core.config import PlacedLayer
from backtester_model_core.config import layers as described
from backtester_model_core.config.layers import FrameworkLayer, Shape, format_shape
from backtester_model_core.exceptions import ConfigError
from backtester_model_torch.registered import MODULES

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "linear": nn.Identity,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class Network(nn.Module):
    """A stack of layers and the output layer: (n, ...) rows or windows to (n, n_outputs) numbers."""

    def __init__(self, layers: Sequence[PlacedLayer], *, given: Shape, n_outputs: int) -> None:
        super().__init__()
        width = layers[-1].gives[-1] if layers else given[-1]
        self.body = nn.Sequential(*(build_layer(layer) for layer in layers))
        self.head = linear(_known(width), n_outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Answer each row or window by itself."""
        output: Tensor = self.head(self.body(rows))
        return output


# -- layers of our own ---------------------------------------------------------------------------------------------


class LastStep(nn.Module):
    """Only the last step goes on."""

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, features)."""
        return sequence[:, -1]


class Recurrent(nn.Module):
    """An LSTM or a GRU: its state at every step, or where ``final`` the last state of each direction."""

    def __init__(self, layer: nn.LSTM | nn.GRU, *, dropout: float, final: bool) -> None:
        super().__init__()
        self.layer, self.dropout, self.final = layer, nn.Dropout(dropout), final
        for name, weights in layer.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(weights)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(weights)
            else:
                nn.init.zeros_(weights)
                if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                    nn.init.ones_(weights[layer.hidden_size : 2 * layer.hidden_size])  # the forget gate

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, steps, units), or (n, units) where final."""
        states, _ = self.layer(sequence)
        if not self.final:
            output = states
        elif self.layer.bidirectional:
            units = self.layer.hidden_size
            output = torch.cat([states[:, -1, :units], states[:, 0, units:]], dim=1)
        else:
            output = states[:, -1]
        dropped: Tensor = self.dropout(output)
        return dropped


class Convolution(nn.Module):
    """A convolution over the second dimension, its strides counted back from the last step."""

    def __init__(self, n_features: int, layer: described.Conv1dLayer) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            n_features, layer.filters, layer.kernel_size, stride=layer.stride, dilation=layer.dilation
        )
        _initialise(self.convolution)
        self.span, self.stride = layer.span, layer.stride
        self.padding = layer.span - 1 if layer.padding == "causal" else 0

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, steps after, filters)."""
        channels = functional.pad(sequence.transpose(1, 2), (self.padding, 0))
        oldest = (channels.shape[2] - self.span) % self.stride
        filtered: Tensor = self.convolution(channels[:, :, oldest:])
        return filtered.transpose(1, 2)


class TemporalBlock(nn.Module):
    """Two causal convolutions of one dilation, and the block's input added to what they give."""

    def __init__(self, n_features: int, layer: described.TcnLayer, dilation: int) -> None:
        super().__init__()
        convolution = described.Conv1dLayer(
            filters=layer.filters, kernel_size=layer.kernel_size, dilation=dilation
        )
        self.inner = nn.Sequential(
            Convolution(n_features, convolution),
            ACTIVATIONS[layer.activation](),
            nn.Dropout(layer.dropout),
            Convolution(layer.filters, convolution),
            ACTIVATIONS[layer.activation](),
            nn.Dropout(layer.dropout),
        )
        same = n_features == layer.filters
        self.shortcut = nn.Identity() if same else linear(n_features, layer.filters)
        self.activation = ACTIVATIONS[layer.activation]()

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, steps, filters)."""
        added: Tensor = self.activation(self.inner(sequence) + self.shortcut(sequence))
        return added


class SelfAttention(nn.Module):
    """Multi-head self-attention: softmax(Q K' / sqrt(features of a head)) V, put together by a linear map."""

    def __init__(self, n_features: int, *, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key, self.value, self.output = (linear(n_features, n_features) for _ in range(4))

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into the same shape."""
        query, key, value = (self._split(one(sequence)) for one in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        output: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return output

    def _split(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, heads, steps, features of a head)."""
        n, steps, features = sequence.shape
        return sequence.reshape(n, steps, self.heads, features // self.heads).transpose(1, 2)


class EncoderBlock(nn.Module):
    """Self-attention, then two dense layers, each added to its input and normalised before or after."""

    def __init__(self, n_features: int, layer: described.TransformerEncoderLayer) -> None:
        super().__init__()
        self.norm_first = layer.norm_first
        self.norms = nn.ModuleList([nn.LayerNorm(n_features), nn.LayerNorm(n_features)])
        self.parts = nn.ModuleList(
            [
                SelfAttention(n_features, heads=layer.heads, causal=layer.causal),
                nn.Sequential(
                    linear(n_features, layer.feedforward_units),
                    ACTIVATIONS[layer.activation](),
                    linear(layer.feedforward_units, n_features),
                ),
            ]
        )
        self.dropout = nn.Dropout(layer.dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into the same shape."""
        for part, norm in zip(self.parts, self.norms, strict=True):
            if self.norm_first:
                sequence = sequence + self.dropout(part(norm(sequence)))
            else:
                sequence = norm(sequence + self.dropout(part(sequence)))
        return sequence


class PositionalEncoding(nn.Module):
    """The place of each step added to its features."""

    def __init__(self, n_steps: int, n_features: int, kind: str) -> None:
        super().__init__()
        if kind == "learned":
            self.places: Tensor = nn.Parameter(0.02 * torch.randn(n_steps, n_features))
        else:
            self.register_buffer("places", sinusoids(n_steps, n_features), persistent=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into the same shape."""
        return sequence + self.places


def sinusoids(n_steps: int, n_features: int) -> Tensor:
    """Return (steps, features): sine in the even, cosine in the odd columns (Vaswani et al. 2017, section 3.5)."""
    step = torch.arange(n_steps, dtype=torch.float64)[:, None]
    column = torch.arange(n_features, dtype=torch.float64)
    angle = step / 10_000 ** (2 * (column // 2) / n_features)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).to(torch.float32)


class StepNorm(nn.BatchNorm1d):
    """Batch normalisation whose features come last, of rows or of the steps of sequences."""

    def forward(self, rows: Tensor) -> Tensor:
        """Standardise each feature over all rows and steps of the batch."""
        flat: Tensor = super().forward(rows.reshape(-1, rows.shape[-1]))
        return flat.reshape(rows.shape)


class Pooling(nn.Module):
    """The mean or maximum over steps, of all or of each group counted back from the last."""

    def __init__(self, kind: str, size: int | None) -> None:
        super().__init__()
        self.kind, self.size = kind, size

    def forward(self, sequence: Tensor) -> Tensor:
        """Turn (n, steps, features) into (n, features), or (n, groups, features)."""
        if self.size is None:
            groups, dim = sequence, 1
        else:
            n, steps, features = sequence.shape
            newest = sequence[:, steps % self.size :]
            groups, dim = newest.reshape(n, steps // self.size, self.size, features), 2
        return groups.mean(dim=dim) if self.kind == "mean" else groups.amax(dim=dim)


class Residual(nn.Module):
    """An inner stack, whose input is added to what it gives."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.inner, self.shortcut = inner, shortcut

    def forward(self, rows: Tensor) -> Tensor:
        """Add what goes in to what comes out."""
        added: Tensor = self.inner(rows) + self.shortcut(rows)
        return added


# -- construction --------------------------------------------------------------------------------------------------

Builder: TypeAlias = Callable[[PlacedLayer, Any, int], list[nn.Module]]


def _dense(_: PlacedLayer, layer: described.DenseLayer, n_features: int) -> list[nn.Module]:
    map_ = linear(n_features, layer.units, use_bias=layer.use_bias)
    return [map_, ACTIVATIONS[layer.activation](), nn.Dropout(layer.dropout)]


def _recurrent(placed: PlacedLayer, layer: described.RecurrentLayer, n_features: int) -> list[nn.Module]:
    kind = nn.LSTM if isinstance(layer, described.LstmLayer) else nn.GRU
    inner = kind(n_features, layer.units, batch_first=True, bidirectional=layer.bidirectional)
    return [Recurrent(inner, dropout=layer.dropout, final=placed.last_step)]


def _conv1d(_: PlacedLayer, layer: described.Conv1dLayer, n_features: int) -> list[nn.Module]:
    return [Convolution(n_features, layer), ACTIVATIONS[layer.activation](), nn.Dropout(layer.dropout)]


def _tcn(_: PlacedLayer, layer: described.TcnLayer, n_features: int) -> list[nn.Module]:
    widths = [n_features, *(layer.filters for _ in layer.dilations)]
    return [
        TemporalBlock(width, layer, dilation)
        for width, dilation in zip(widths, layer.dilations, strict=False)
    ]


def _attention(_: PlacedLayer, layer: described.AttentionLayer, n_features: int) -> list[nn.Module]:
    return [SelfAttention(n_features, heads=layer.heads, causal=layer.causal), nn.Dropout(layer.dropout)]


def _residual(placed: PlacedLayer, layer: described.ResidualLayer, n_features: int) -> list[nn.Module]:
    inner = nn.Sequential(*(build_layer(one) for one in placed.inner))
    width = _known(placed.inner[-1].gives[-1])
    return [Residual(inner, linear(n_features, width, use_bias=False) if layer.projection else nn.Identity())]


def _positions(
    placed: PlacedLayer, layer: described.PositionalEncodingLayer, n_features: int
) -> list[nn.Module]:
    return [PositionalEncoding(_known(placed.given[0]), n_features, layer.kind)]


BUILDERS: Mapping[type[described.LayerConfig], Builder] = {
    described.DenseLayer: _dense,
    described.ActivationLayer: lambda _, layer, __: [ACTIVATIONS[layer.activation]()],
    described.DropoutLayer: lambda _, layer, __: [nn.Dropout(layer.rate)],
    described.BatchNormLayer: lambda _, layer, n: [
        StepNorm(n, eps=layer.epsilon, momentum=1 - layer.momentum)
    ],
    described.LayerNormLayer: lambda _, layer, n: [nn.LayerNorm(n, eps=layer.epsilon)],
    described.LstmLayer: _recurrent,
    described.GruLayer: _recurrent,
    described.Conv1dLayer: _conv1d,
    described.TcnLayer: _tcn,
    described.AttentionLayer: _attention,
    described.TransformerEncoderLayer: lambda _, layer, n: [EncoderBlock(n, layer)],
    described.PositionalEncodingLayer: _positions,
    described.PoolingLayer: lambda _, layer, __: [Pooling(layer.kind, layer.size)],
    described.FlattenLayer: lambda _, __, ___: [nn.Flatten()],
    described.ResidualLayer: _residual,
    described.FrameworkLayer: lambda placed, layer, _: [build_registered(layer, placed.given)],
}


def build_layer(placed: PlacedLayer) -> nn.Module:
    """Build one layer with its activation and dropout."""
    parts = BUILDERS[type(placed.layer)](placed, placed.layer, _known(placed.given[-1]))
    if placed.last_step and not isinstance(parts[-1], Recurrent):
        parts = [*parts, LastStep()]
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def linear(n_features: int, n_outputs: int, *, use_bias: bool = True) -> nn.Linear:
    """Build a linear map that starts as Glorot & Bengio (2010, eq. 16) have it, its constants at zero."""
    layer = nn.Linear(n_features, n_outputs, bias=use_bias)
    _initialise(layer)
    return layer


def _initialise(layer: nn.Linear | nn.Conv1d) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _known(count: int | None) -> int:
    """Return a count that is known by the time a network is built."""
    if count is None:
        raise ConfigError("The shape of the network's input is not known. Give the number of features.")
    return count


# -- registered modules --------------------------------------------------------------------------------------------


def build_registered(layer: FrameworkLayer, given: Shape) -> nn.Module:
    """Build a module that was registered in code.

    Raises:
        ValueError: When it cannot be built with these arguments, or is no module.
    """
    try:
        module = MODULES[layer.name](given, **layer.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"it cannot be built: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"it makes a {type(module).__name__}, not a torch.nn.Module")  # noqa: TRY004
    return module


def shape_of_registered(layer: FrameworkLayer, given: Shape) -> Shape:
    """Ask a registered module what it gives, by two inputs of zeros.

    Raises:
        ValueError: When it cannot take that shape, or gives neither rows nor sequences.
    """
    module = build_registered(layer, given).eval()
    with torch.no_grad():
        try:
            answer = module(torch.zeros(2, *map(_known, given)))
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise ValueError(f"its forward fails on a batch of two: {error}") from error
    if not isinstance(answer, Tensor) or answer.ndim not in (2, 3) or len(answer) != 2:
        what = format_shape(tuple(answer.shape)) if isinstance(answer, Tensor) else type(answer).__name__
        raise ValueError(
            f"it answers a batch of two with {what}, where a tensor (2, features) or (2, steps, features) is wanted"
        )
    return tuple(answer.shape[1:])


def check_registered(layers: Sequence[described.LayerConfig]) -> None:
    """Refuse names that nobody registered, those inside residuals too.

    Raises:
        ConfigError: When one is not known.
    """
    for layer in layers:
        if isinstance(layer, described.ResidualLayer):
            check_registered(layer.layers)
        if isinstance(layer, FrameworkLayer) and layer.name not in MODULES:
            raise ConfigError(
                f"{ConfigError.unknown('registered module', layer.name, MODULES)} "
                "Register one with backtester_model_torch.register_module."
            )
