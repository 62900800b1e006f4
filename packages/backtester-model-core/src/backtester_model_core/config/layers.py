"""The layers of a network, each with one meaning in every framework: what it takes, and what it gives.

A shape is ``(features,)`` for a row and ``(steps, features)`` for a sequence; a count that is not known yet is None.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import pydantic

from backtester_model_core.config.groups import Group, Name
from backtester_model_core.config.named import PlainValue

Shape: TypeAlias = tuple[int | None, ...]

MAX_UNITS = 4096
MAX_FLAT = 100_000
MAX_NESTING = 3

Units: TypeAlias = Annotated[int, pydantic.Field(ge=1, le=MAX_UNITS)]
Share: TypeAlias = Annotated[float, pydantic.Field(ge=0, lt=1)]
Heads: TypeAlias = Annotated[int, pydantic.Field(ge=1, le=64)]
Epsilon: TypeAlias = Annotated[float, pydantic.Field(gt=0, le=0.1)]

ActivationName: TypeAlias = Literal[
    "elu", "gelu", "leaky_relu", "linear", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "tanh"
]
"""``gelu`` is the exact one, ``leaky_relu`` has the slope 0.01 below zero."""

UNITS = "Features that it gives."
FILTERS = "Features that it gives: one for each filter."
ACTIVATION = "Function that every output goes through."
DROPOUT = "Share of the layer's outputs that training sets to zero, the others scaled up."
HEADS = "Heads, between which the features that it takes are divided evenly."


def format_shape(shape: Shape) -> str:
    """Write a shape as a reader expects it: ``(30, 16)``, with ``?`` for what is not known yet."""
    counts = ", ".join("?" if count is None else str(count) for count in shape)
    return f"({counts},)" if len(shape) == 1 else f"({counts})"


class LayerConfig(Group):
    """One layer of a stack.

    Attributes:
        takes: What it must be given; ``None`` for either. An architecture with a layer that takes a sequence is
            fed with windows of ``lookback_period`` rows.
    """

    takes: ClassVar[Literal["row", "sequence"] | None] = None

    @property
    def wants(self) -> Literal["row", "sequence"] | None:
        """What this layer must be given; ``None`` for either."""
        return self.takes

    def shape_after(self, given: Shape) -> Shape | None:
        """Return the shape it gives, or ``None`` where only a framework knows.

        Raises:
            ValueError: When it cannot take the shape; the message says why.
        """
        return given


class SequenceLayer(LayerConfig):
    """A layer that takes a sequence."""

    takes: ClassVar[Literal["row", "sequence"] | None] = "sequence"


# -- layers that act on a row, or on each step of a sequence alike -------------------------------------------------


class DenseLayer(LayerConfig):
    """A linear map and an activation; on a sequence the same at each step."""

    type: Literal["dense"] = pydantic.Field(default="dense", description="Kind of layer.")
    units: Units = pydantic.Field(description=UNITS)
    activation: ActivationName = pydantic.Field(default="linear", description=ACTIVATION)
    use_bias: bool = pydantic.Field(default=True, description="Whether a constant is added.")
    dropout: Share = pydantic.Field(default=0.0, description=DROPOUT)

    def shape_after(self, given: Shape) -> Shape:
        """Change the number of features."""
        return (*given[:-1], self.units)


class ActivationLayer(LayerConfig):
    """An activation alone, such as after a normalisation."""

    type: Literal["activation"] = pydantic.Field(default="activation", description="Kind of layer.")
    activation: ActivationName = pydantic.Field(description=ACTIVATION)


class DropoutLayer(LayerConfig):
    """Numbers set to zero at random in training, each by itself."""

    type: Literal["dropout"] = pydantic.Field(default="dropout", description="Kind of layer.")
    rate: Share = pydantic.Field(description="Share that training sets to zero, the others scaled up.")


class BatchNormLayer(LayerConfig):
    """Each feature standardised over a batch's rows and steps (Ioffe & Szegedy 2015), then scaled and shifted."""

    type: Literal["batch_norm"] = pydantic.Field(default="batch_norm", description="Kind of layer.")
    momentum: Share = pydantic.Field(
        default=0.9, description="Share of the running statistics that each batch leaves as it was."
    )
    epsilon: Epsilon = pydantic.Field(default=1e-5, description="Added to the variance.")


class LayerNormLayer(LayerConfig):
    """The features of each row or step standardised (Ba, Kiros & Hinton 2016), then scaled and shifted."""

    type: Literal["layer_norm"] = pydantic.Field(default="layer_norm", description="Kind of layer.")
    epsilon: Epsilon = pydantic.Field(default=1e-5, description="Added to the variance.")


# -- layers over a sequence ----------------------------------------------------------------------------------------


class RecurrentLayer(SequenceLayer):
    """What the recurrent layers share; each gives its state at every step."""

    units: Units = pydantic.Field(description="Features of the state.")
    bidirectional: bool = pydantic.Field(
        default=False,
        description=(
            "Whether a second layer runs over the window backwards, its states beside the first's; the last "
            "layer of a sequence then gives the two final states."
        ),
    )
    dropout: Share = pydantic.Field(default=0.0, description=DROPOUT)

    def shape_after(self, given: Shape) -> Shape:
        """Give the state at every step, of both directions where there are two."""
        return (given[0], self.units * (2 if self.bidirectional else 1))


class LstmLayer(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    Forget gates start open, at a bias of one (Jozefowicz, Zaremba & Sutskever 2015).
    """

    type: Literal["lstm"] = pydantic.Field(default="lstm", description="Kind of layer.")


class GruLayer(RecurrentLayer):
    """Gated recurrent unit (Cho et al. 2014), its reset gate applied after the matrix product."""

    type: Literal["gru"] = pydantic.Field(default="gru", description="Kind of layer.")


class Conv1dLayer(SequenceLayer):
    """A convolution over steps; a stride is counted back from the last step, so that the newest is always seen."""

    type: Literal["conv1d"] = pydantic.Field(default="conv1d", description="Kind of layer.")
    filters: Units = pydantic.Field(description=FILTERS)
    kernel_size: int = pydantic.Field(default=3, ge=1, le=512, description="Steps that a filter looks at.")
    stride: int = pydantic.Field(default=1, ge=1, le=512, description="Steps from one output to the next.")
    dilation: int = pydantic.Field(
        default=1, ge=1, le=4096, description="Steps between those that a filter looks at."
    )
    padding: Literal["causal", "valid"] = pydantic.Field(
        default="causal",
        description=(
            "'causal' puts zeros before the first step, so that every step has an output; 'valid' starts where "
            "a whole kernel fits."
        ),
    )
    activation: ActivationName = pydantic.Field(default="relu", description=ACTIVATION)
    dropout: Share = pydantic.Field(default=0.0, description=DROPOUT)

    @pydantic.model_validator(mode="after")
    def _check_stride(self) -> Conv1dLayer:
        if self.stride > 1 and self.dilation > 1:
            raise ValueError("stride and dilation cannot both be above 1")
        return self

    @property
    def span(self) -> int:
        """Steps from the first to the last that a filter looks at, both included."""
        return self.dilation * (self.kernel_size - 1) + 1

    def shape_after(self, given: Shape) -> Shape:
        """Give one step for each place of the kernel."""
        steps = given[0]
        if steps is None:
            return (None, self.filters)
        if self.padding == "causal":
            steps += self.span - 1
        if steps < self.span:
            raise ValueError(f"its kernel spans {self.span} steps and it is given {steps}")
        return ((steps - self.span) // self.stride + 1, self.filters)


class TcnLayer(SequenceLayer):
    """A temporal convolutional network (Bai, Kolter & Koltun 2018), without weight normalisation.

    For each dilation a block of two causal convolutions, each followed by the activation and dropout; the block's
    input, through a linear map where the features differ, is added, and the activation applied to the sum.
    """

    type: Literal["tcn"] = pydantic.Field(default="tcn", description="Kind of layer.")
    filters: Units = pydantic.Field(description=FILTERS)
    kernel_size: int = pydantic.Field(default=3, ge=1, le=512, description="Steps that a filter looks at.")
    dilations: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        default=(1, 2, 4, 8), min_length=1, max_length=16, description="Dilation of each block in turn."
    )
    activation: ActivationName = pydantic.Field(default="relu", description=ACTIVATION)
    dropout: Share = pydantic.Field(default=0.0, description="Dropout after each convolution.")

    def shape_after(self, given: Shape) -> Shape:
        """Change the number of features."""
        return (given[0], self.filters)


class HeadedLayer(SequenceLayer):
    """What the layers with attention share: they keep the shape."""

    heads: Heads = pydantic.Field(default=4, description=HEADS)
    causal: bool = pydantic.Field(
        default=False, description="Whether a step attends only to itself and the steps before."
    )
    dropout: Share = pydantic.Field(default=0.0, description=DROPOUT)

    def shape_after(self, given: Shape) -> Shape:
        """Keep the shape, whose features the heads must divide."""
        features = given[-1]
        if features is not None and features % self.heads:
            raise ValueError(
                f"its {self.heads} heads do not divide {features} features; put a dense layer with a multiple of "
                f"{self.heads} units before it"
            )
        return given


class AttentionLayer(HeadedLayer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2), without residual or normalisation."""

    type: Literal["attention"] = pydantic.Field(default="attention", description="Kind of layer.")


class TransformerEncoderLayer(HeadedLayer):
    """One encoder block: self-attention, then two dense layers, each added to its input and normalised."""

    type: Literal["transformer_encoder"] = pydantic.Field(
        default="transformer_encoder", description="Kind of layer."
    )
    feedforward_units: Units = pydantic.Field(default=128, description="Width between the two dense layers.")
    activation: ActivationName = pydantic.Field(default="relu", description="Function between them.")
    norm_first: bool = pydantic.Field(
        default=True,
        description="Whether the normalisation comes before each part (Xiong et al. 2020) or after its sum.",
    )


class PositionalEncodingLayer(SequenceLayer):
    """The place of each step in the window, added to its features: attention does not see it by itself."""

    type: Literal["positional_encoding"] = pydantic.Field(
        default="positional_encoding", description="Kind of layer."
    )
    kind: Literal["sinusoidal", "learned"] = pydantic.Field(
        default="sinusoidal",
        description="Fixed sines and cosines (Vaswani et al. 2017, section 3.5), or weights of their own.",
    )


class PoolingLayer(SequenceLayer):
    """The mean or maximum of each feature over steps."""

    type: Literal["pooling"] = pydantic.Field(default="pooling", description="Kind of layer.")
    kind: Literal["mean", "max"] = pydantic.Field(default="mean", description="What is taken.")
    size: Annotated[int, pydantic.Field(ge=2, le=10_000)] | None = pydantic.Field(
        default=None,
        description=(
            "Steps in each group, counted back from the last step (the oldest that fill no group are left out); "
            "by default all steps, which gives a row."
        ),
    )

    def shape_after(self, given: Shape) -> Shape:
        """Give one step for each group, or a row."""
        steps, features = given
        if self.size is None:
            return (features,)
        if steps is not None and steps < self.size:
            raise ValueError(f"it groups {self.size} steps and is given {steps}")
        return (None if steps is None else steps // self.size, features)


class FlattenLayer(SequenceLayer):
    """The features of all steps, oldest step first, as one row."""

    type: Literal["flatten"] = pydantic.Field(default="flatten", description="Kind of layer.")

    def shape_after(self, given: Shape) -> Shape:
        """Give steps times features."""
        steps, features = given
        if steps is None or features is None:
            return (None,)
        if steps * features > MAX_FLAT:
            raise ValueError(f"it would give {steps * features:,} features; at most {MAX_FLAT:,} are allowed")
        return (steps * features,)


# -- layers that hold others, or that only a framework knows -------------------------------------------------------


class ResidualLayer(LayerConfig):
    """A stack of layers whose input is added to its output (He et al. 2016)."""

    type: Literal["residual"] = pydantic.Field(default="residual", description="Kind of layer.")
    layers: tuple[Layer, ...] = pydantic.Field(max_length=20, description="The inner stack.")
    projection: bool = pydantic.Field(
        default=False,
        description="Whether a linear map brings the input to the stack's features, where they may differ.",
    )

    @pydantic.model_validator(mode="after")
    def _check_inner(self) -> ResidualLayer:
        if not self.layers:
            raise ValueError("a residual layer holds at least one layer")
        if _depth(self) > MAX_NESTING:
            raise ValueError(f"residual layers nest at most {MAX_NESTING} deep")
        return self

    @property
    def wants(self) -> Literal["row", "sequence"] | None:
        """What the first inner layer with a wish must be given."""
        return next((layer.wants for layer in self.layers if layer.wants), None)


class FrameworkLayer(LayerConfig):
    """A layer of the framework's own, or one registered in code; its arguments are checked by the framework."""

    type: Literal["framework"] = pydantic.Field(default="framework", description="Kind of layer.")
    name: Name = pydantic.Field(description="Its name in the framework, or the one it was registered under.")
    arguments: dict[Name, PlainValue] = pydantic.Field(
        default_factory=dict, max_length=100, description="What it is built with."
    )
    input: Literal["row", "sequence"] | None = pydantic.Field(
        default=None, description="What it must be given; by default whatever comes."
    )

    @property
    def wants(self) -> Literal["row", "sequence"] | None:
        """What the configuration says that it must be given."""
        return self.input

    def shape_after(self, given: Shape) -> None:  # noqa: ARG002 - only the framework knows
        """Leave the answer to the framework."""
        return


def _depth(layer: LayerConfig) -> int:
    inner = layer.layers if isinstance(layer, ResidualLayer) else ()
    return int(isinstance(layer, ResidualLayer)) + max(map(_depth, inner), default=0)


Layer: TypeAlias = Annotated[
    DenseLayer
    | ActivationLayer
    | DropoutLayer
    | BatchNormLayer
    | LayerNormLayer
    | LstmLayer
    | GruLayer
    | Conv1dLayer
    | TcnLayer
    | AttentionLayer
    | TransformerEncoderLayer
    | PositionalEncodingLayer
    | PoolingLayer
    | FlattenLayer
    | ResidualLayer
    | FrameworkLayer,
    pydantic.Field(discriminator="type"),
]
