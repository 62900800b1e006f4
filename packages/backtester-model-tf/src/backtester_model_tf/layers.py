"""From placed layers to one network: every layer as the configuration defines it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.config import NetworkModelConfig, PlacedLayer
from backtester_model_core.config import layers as described
from backtester_model_core.config.layers import MAX_UNITS, FrameworkLayer, Shape
from backtester_model_core.exceptions import ConfigError
from backtester_model_tf.backend import keras
from backtester_model_tf.named import REFUSALS, call_named, first_line, keras_classes
from backtester_model_tf.registered import LAYERS

klayers, ops = keras.layers, keras.ops

Tensor: TypeAlias = Any
"""A symbolic tensor of Keras's, with the batch first."""


def build_network(config: NetworkModelConfig, n_features: int, *, n_outputs: int, network_class: Any) -> Any:
    """Build the untrained network for so many features: its layers, and an output layer of plain scores or values.

    Raises:
        ConfigError: When the shapes of its layers do not meet, or a layer does not take its arguments.
    """
    inputs = keras.Input(config.shape_of_input(n_features), dtype="float32")
    output = inputs
    for placed in config.placed_layers(n_features, own=shape_of_own):
        output = apply_layer(placed, output)
    return network_class(inputs, klayers.Dense(n_outputs, dtype="float32")(output))


def apply_layer(placed: PlacedLayer, given: Tensor) -> Tensor:
    """Apply one layer with its activation and dropout; after the last that takes a sequence only one step goes on."""
    output = BUILDERS[type(placed.layer)](placed, placed.layer, given)
    if placed.last_step and len(output.shape) == 3:
        return output[:, -1]
    return output


# -- the shared layers ---------------------------------------------------------------------------------------------

Builder: TypeAlias = Callable[[PlacedLayer, Any, Tensor], Tensor]

ACTIVATIONS: Mapping[str, Callable[[], Any]] = {
    "leaky_relu": lambda: klayers.LeakyReLU(negative_slope=0.01),
}
"""Activations that Keras has by the same name, but not with the same meaning."""


def activate(name: str, given: Tensor) -> Tensor:
    """Apply an activation."""
    return ACTIVATIONS[name]()(given) if name in ACTIVATIONS else klayers.Activation(name)(given)


def _dropped(rate: float, given: Tensor) -> Tensor:
    return klayers.Dropout(rate)(given) if rate > 0 else given


def _dense(_: PlacedLayer, layer: described.DenseLayer, given: Tensor) -> Tensor:
    output = klayers.Dense(layer.units, use_bias=layer.use_bias)(given)
    return _dropped(layer.dropout, activate(layer.activation, output))


def _recurrent(placed: PlacedLayer, layer: described.RecurrentLayer, given: Tensor) -> Tensor:
    kind = klayers.LSTM if isinstance(layer, described.LstmLayer) else klayers.GRU
    inner = kind(layer.units, return_sequences=not placed.last_step)
    output = (klayers.Bidirectional(inner) if layer.bidirectional else inner)(given)
    return _dropped(layer.dropout, output)


def _convolved(layer: described.Conv1dLayer, given: Tensor) -> Tensor:
    """Convolve over steps, strides counted back from the last step."""
    padding = layer.span - 1 if layer.padding == "causal" else 0
    oldest = (given.shape[1] + padding - layer.span) % layer.stride
    if padding > oldest:
        given = klayers.ZeroPadding1D((padding - oldest, 0))(given)
    elif oldest > padding:
        given = klayers.Cropping1D((oldest - padding, 0))(given)
    convolution = klayers.Conv1D(
        layer.filters, layer.kernel_size, strides=layer.stride, dilation_rate=layer.dilation, padding="valid"
    )
    return convolution(given)


def _conv1d(_: PlacedLayer, layer: described.Conv1dLayer, given: Tensor) -> Tensor:
    return _dropped(layer.dropout, activate(layer.activation, _convolved(layer, given)))


def _tcn(_: PlacedLayer, layer: described.TcnLayer, given: Tensor) -> Tensor:
    for dilation in layer.dilations:
        convolution = described.Conv1dLayer(
            filters=layer.filters, kernel_size=layer.kernel_size, dilation=dilation
        )
        inner = given
        for _half in range(2):
            inner = _dropped(layer.dropout, activate(layer.activation, _convolved(convolution, inner)))
        shortcut = given if given.shape[-1] == layer.filters else klayers.Dense(layer.filters)(given)
        given = activate(layer.activation, inner + shortcut)
    return given


def _attended(layer: described.HeadedLayer, given: Tensor) -> Tensor:
    attention = klayers.MultiHeadAttention(layer.heads, given.shape[-1] // layer.heads)
    return attention(given, given, use_causal_mask=layer.causal)


def _attention(_: PlacedLayer, layer: described.AttentionLayer, given: Tensor) -> Tensor:
    return _dropped(layer.dropout, _attended(layer, given))


def _transformer_encoder(_: PlacedLayer, layer: described.TransformerEncoderLayer, given: Tensor) -> Tensor:
    def attend(sequence: Tensor) -> Tensor:
        return _attended(layer, sequence)

    def feed_forward(sequence: Tensor) -> Tensor:
        wide = activate(layer.activation, klayers.Dense(layer.feedforward_units)(sequence))
        return klayers.Dense(sequence.shape[-1])(wide)

    for part in (attend, feed_forward):
        norm = klayers.LayerNormalization(epsilon=1e-5)
        if layer.norm_first:
            given = given + _dropped(layer.dropout, part(norm(given)))
        else:
            given = norm(given + _dropped(layer.dropout, part(given)))
    return given


class PositionalEncoding(keras.layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """The place of each step added to its features."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the (steps, features) that are added."""
        _, steps, features = input_shape
        if self.kind == "learned":
            self.places = self.add_weight(
                shape=(steps, features), initializer=keras.initializers.RandomNormal(stddev=0.02)
            )
        else:
            self.places = ops.convert_to_tensor(sinusoids(steps or 0, features or 0))

    def call(self, sequence: Tensor) -> Tensor:
        """Keep the shape."""
        return sequence + ops.cast(self.places, sequence.dtype)


def sinusoids(n_steps: int, n_features: int) -> NDArray[np.float32]:
    """Return (steps, features): sine in the even, cosine in the odd columns (Vaswani et al. 2017, section 3.5)."""
    column = np.arange(n_features)
    angle = np.arange(n_steps)[:, np.newaxis] / 10_000 ** (2 * (column // 2) / n_features)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def _pooling(_: PlacedLayer, layer: described.PoolingLayer, given: Tensor) -> Tensor:
    mean = layer.kind == "mean"
    if layer.size is None:
        return (klayers.GlobalAveragePooling1D() if mean else klayers.GlobalMaxPooling1D())(given)
    if oldest := given.shape[1] % layer.size:
        given = klayers.Cropping1D((oldest, 0))(given)
    return (klayers.AveragePooling1D if mean else klayers.MaxPooling1D)(layer.size)(given)


def _residual(placed: PlacedLayer, layer: described.ResidualLayer, given: Tensor) -> Tensor:
    inner = given
    for one in placed.inner:
        inner = apply_layer(one, inner)
    shortcut = klayers.Dense(inner.shape[-1], use_bias=False)(given) if layer.projection else given
    return inner + shortcut


BUILDERS: Mapping[type[described.LayerConfig], Builder] = {
    described.DenseLayer: _dense,
    described.ActivationLayer: lambda _, layer, given: activate(layer.activation, given),
    described.DropoutLayer: lambda _, layer, given: _dropped(layer.rate, given),
    described.BatchNormLayer: lambda _, layer, given: klayers.BatchNormalization(
        momentum=layer.momentum, epsilon=layer.epsilon
    )(given),
    described.LayerNormLayer: lambda _, layer, given: klayers.LayerNormalization(epsilon=layer.epsilon)(
        given
    ),
    described.LstmLayer: _recurrent,
    described.GruLayer: _recurrent,
    described.Conv1dLayer: _conv1d,
    described.TcnLayer: _tcn,
    described.AttentionLayer: _attention,
    described.TransformerEncoderLayer: _transformer_encoder,
    described.PositionalEncodingLayer: lambda _, layer, given: PositionalEncoding(layer.kind)(given),
    described.PoolingLayer: _pooling,
    described.FlattenLayer: lambda _, __, given: klayers.Flatten()(given),
    described.ResidualLayer: _residual,
    described.FrameworkLayer: lambda placed, layer, given: build_own(layer, placed.place)(given),
}

# -- layers of Keras's own, and registered ones --------------------------------------------------------------------

_CODE = "it runs code from outside the configuration"
_TEXT = "its inputs are texts or codes, not features, and it may read files"
_HOLDS = "it is made of other layers, which plain arguments cannot give"
UNUSABLE: Mapping[str, str] = {
    **dict.fromkeys(("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"), _CODE),
    **dict.fromkeys(
        ("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing"), _TEXT
    ),
    **dict.fromkeys(("Bidirectional", "TimeDistributed", "SpectralNormalization", "Wrapper"), _HOLDS),
    **dict.fromkeys(("RNN", "StackedRNNCells", "Pipeline"), _HOLDS),
    **dict.fromkeys(("LSTMCell", "GRUCell", "SimpleRNNCell"), "it is a part of a layer"),
    "Masking": "every step of a window is there: rows with gaps before them are not asked about",
    "InputLayer": "the input follows from features and lookback_period",
}
"""Layers of Keras's that a configuration may not name."""

REFUSED: Mapping[str, str] = {
    "data_format": "features come last",
    "dtype": "training_config.mixed_precision chooses the precision",
    "name": "nobody reads it",
    "return_state": "only a layer's output goes on",
    "seed": "the model's own random_state seeds everything",
    "stateful": "each window is answered by itself, whatever came before it in the batch",
    "weights": "they are learned",
}
"""Arguments that may not be set, whatever their value."""


@cache
def keras_layers() -> Mapping[str, Any]:
    """Return Keras's layers by name."""
    return keras_classes(klayers, klayers.Layer)


def build_own(layer: FrameworkLayer, place: str) -> Any:
    """Build a layer of Keras's by its name, or a registered one.

    Raises:
        ConfigError: When there is none of that name, or it does not take the arguments.
    """
    name, known = layer.name, keras_layers()
    if name in UNUSABLE and name not in LAYERS:
        raise ConfigError(f"{place}: the layer {name!r} is refused: {UNUSABLE[name]}.")
    if name not in LAYERS and name not in known:
        raise ConfigError.unknown("layer", name, [*(set(known) - set(UNUSABLE)), *LAYERS])
    if _largest(tuple(layer.arguments.values())) > MAX_UNITS:
        raise ConfigError(f"{place}: the layer {name!r} has a size above {MAX_UNITS}, which is refused.")
    is_registered = name in LAYERS
    found = LAYERS[name] if is_registered else known[name]
    built = call_named(
        f"{place}: the layer",
        name,
        found,
        layer.arguments,
        refused={} if is_registered else REFUSED,
        further=("activity_regularizer",),
    )
    if not isinstance(built, klayers.Layer):
        raise ConfigError(f"{place}: the layer {name!r} makes a {type(built).__name__}, not a keras Layer.")
    return built


def check_own(layers: Sequence[described.LayerConfig]) -> None:
    """Refuse names and arguments of layers that are not the shared ones, those inside residuals too.

    Raises:
        ConfigError: With the first of them.
    """
    for position, layer in enumerate(layers):
        if isinstance(layer, described.ResidualLayer):
            check_own(layer.layers)
        if isinstance(layer, FrameworkLayer):
            build_own(layer, f"layers[{position}]")


def shape_of_own(layer: FrameworkLayer, given: Shape) -> Shape:
    """Try a layer that is not a shared one, and return the shape that it gives.

    Raises:
        ValueError: When it cannot take that shape, gives neither rows nor sequences, or mixes rows with each other.
    """
    built = build_own(layer, "model_architecture")
    rng = np.random.default_rng(0)
    one, other, third = (rng.normal(size=tuple(map(_known, given))).astype(np.float32) for _ in range(3))
    try:
        answers = built(np.stack([one, other])), built(np.stack([one, third]))
    except REFUSALS as error:
        raise ValueError(f"it fails on a batch of two: {first_line(error)}") from error
    shapes = [getattr(answer, "shape", None) for answer in answers]
    if shapes[0] is None or len(shapes[0]) not in (2, 3) or shapes[0][0] != 2:
        raise ValueError("it does not give a row, (features,), or a sequence, (steps, features)")
    first, second = (ops.convert_to_numpy(answer)[0] for answer in answers)
    if not np.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ValueError("what it gives for a row depends on the other rows of the batch")
    return tuple(int(count) for count in shapes[0][1:])


def _known(count: int | None) -> int:
    """Return a count that is known by the time a network is built."""
    if count is None:
        raise ValueError("how many features it is given is not known")
    return count


def _largest(value: Any) -> float:
    if isinstance(value, (tuple, list)):
        return max(map(_largest, value), default=0.0)
    return float(abs(value)) if isinstance(value, int) else 0.0
