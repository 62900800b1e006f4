"""The very same step functions, compiled by numba, give the same bits; and where compiled code is kept."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import Panel
from backtester_model_core.compiled import cache, native
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features import (
    OPERATORS,
    Call,
    Column,
    Constant,
    Expression,
    Operator,
    Parameter,
    col,
    evaluate,
    feature_set,
    kernels,
    parse_expression,
)
from backtester_model_core.features import batch as batch_module
from backtester_model_core.features.kernel_source import step_source
from backtester_model_core.features.pieces import Program
from backtester_model_core.features.primitives import INF, sqrt
from backtester_model_core.steps import prepare_dataset
from backtester_model_core.testing import random_bars, random_panel

pytest.importorskip("numba", exc_type=ImportError)

OHLCV = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compile into a fresh directory, so that no test meets what another session left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.CACHE_DIRECTORY, str(tmp_path_factory.mktemp("kernels")))
        forget_loaded_code()
        yield cache.cache_directory()
    forget_loaded_code()


def forget_loaded_code() -> None:
    """Have compiled code looked for again, and the directory where it is kept."""
    for cached in (
        cache.cache_directory,
        kernels.load_loop,
        kernels.load_loops,
        native.load_native,
        native._machine,
    ):
        cached.cache_clear()


def rough_values(seed: int, n: int) -> np.ndarray:
    """Return noise on a moving level, with holes, zeros, repeats and spikes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n) + np.repeat(rng.choice([0.0, 100.0, 1e6], n // 50 + 1), 50)[:n]
    for rough in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e12, -1e12, 1e200, 5e-324, -1.0):
        values[rng.integers(0, n, 4)] = rough
    values[n // 2 : n // 2 + 70] = 3.7
    return values


def rough_panel(seed: int, lengths: list[int]) -> Panel:
    """Return a ragged panel of rough values, each symbol of its own length."""
    frames = []
    for symbol, length in enumerate(lengths):
        stamps = pd.date_range("2020-01-01", periods=length, name="timestamp")
        index = pd.MultiIndex.from_product([stamps, [f"S{symbol}"]], names=["timestamp", "symbol"])
        values = np.column_stack([rough_values(seed + 10 * symbol + k, length) for k in range(5)])
        frames.append(pd.DataFrame(values, index=index, columns=OHLCV))
    return Panel.of(pd.concat(frames).sort_index())


def assert_compiled_bits_are_the_plain_ones(expressions: dict[str, Expression], panel: Panel) -> None:
    plain = evaluate(expressions, panel, engine="python")
    compiled = evaluate(expressions, panel, engine="compiled")
    threaded = evaluate(expressions, panel, engine="compiled", n_threads=2)

    for column, name in enumerate(expressions):
        assert compiled[:, column].tobytes() == plain[:, column].tobytes(), name
    assert threaded.tobytes() == plain.tobytes()


def value_of(parameter: Parameter, n: int) -> float:
    return max(n, parameter.minimum) if parameter.whole else n / 70


def calls_of_one(name: str) -> dict[str, Expression]:
    """Return an operator's calls on plain columns, with several windows."""
    operator = OPERATORS[name]
    inputs = tuple(map(col, ("close", "open", "high")[: len(operator.inputs)]))
    calls = [
        Call(name, inputs, tuple(value_of(parameter, n) for parameter in operator.parameters))
        for n in (4, 5, 20, 60)
    ]
    return {str(call): call for call in calls}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_compiled_step_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "CHUNK_ROWS", 500)
    panel = rough_panel(1, [900, 1, 130])

    assert_compiled_bits_are_the_plain_ones(calls_of_one(name), panel)


def calls_of(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def call_of(name: str) -> st.SearchStrategy[Expression]:
        operator = OPERATORS[name]
        inputs = st.tuples(*(parts for _ in operator.inputs))
        parameters = st.tuples(
            *(st.integers(2, 9).map(partial(value_of, one)) for one in operator.parameters)
        )
        return st.builds(Call, st.just(name), inputs, parameters)

    return st.sampled_from(sorted(OPERATORS)).flatmap(call_of)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(Constant)
EXPRESSIONS = st.recursive(st.sampled_from(OHLCV).map(Column) | NUMBERS, calls_of, max_leaves=8)


@settings(max_examples=60)
@given(expression=EXPRESSIONS, seed=st.integers(0, 1000))
def test_any_expression_gives_the_same_bits_compiled(expression: Expression, seed: int) -> None:
    assert_compiled_bits_are_the_plain_ones({"any": expression}, rough_panel(seed, [60, 1, 137]))


def test_a_million_bars_around_a_million_give_the_same_bits() -> None:
    close = 1e6 + np.random.default_rng(2).uniform(-1e-3, 1e-3, 1_000_000)
    stamps = pd.date_range("2000-01-01", periods=len(close), freq="min", name="timestamp")
    panel = Panel.of(pd.DataFrame({"close": close}, index=stamps))
    expressions = {"score": parse_expression("zscore(close, 20)")}

    assert_compiled_bits_are_the_plain_ones(expressions, panel)


def test_bars_computed_in_chunks_are_those_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = rough_panel(3, [300, 70])
    whole = evaluate(feature_set("basic"), panel)
    monkeypatch.setattr(batch_module, "CHUNK_ROWS", 37)

    assert evaluate(feature_set("basic"), panel).tobytes() == whole.tobytes()
    assert evaluate(feature_set("basic"), panel, engine="compiled").tobytes() == whole.tobytes()


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_symbols_computed_in_shares_are_those_computed_together(
    engine: Literal["python", "compiled"], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = rough_panel(4, [90, 30, 1, 60, 45])
    together = evaluate(feature_set("basic"), panel, engine=engine)
    monkeypatch.setattr(batch_module, "SYMBOLS_AT_ONCE", 2)

    assert evaluate(feature_set("basic"), panel, engine=engine).tobytes() == together.tobytes()


def test_a_window_that_several_answer_from_takes_each_value_once(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    add = Program.add
    monkeypatch.setattr(
        Program,
        "add",
        lambda program, name, loop, given: (added.append(loop), add(program, name, loop, given)),
    )
    texts = ["rolling_mean(close, 5)", "rolling_std(close, 5)", "zscore(close, 5)", "zscore(open, 5)"]

    assert_compiled_bits_are_the_plain_ones(
        {text: parse_expression(text) for text in texts}, rough_panel(12, [90])
    )

    evaluations = 2  # on one thread, and on two
    take = kernels.load_loop(OPERATORS["zscore"]).take
    assert added.count(take) == 2 * evaluations  # of close, and of open


@pytest.mark.parametrize("close", [np.ones(20)[::2], np.ones(10, dtype=np.float32)])
def test_compiled_loops_refuse_numbers_that_do_not_lie_one_after_another(close: np.ndarray) -> None:
    panel = replace(rough_panel(15, [10]), columns={"close": close})

    with pytest.raises(ExpressionError, match="contiguous numbers of eight bytes"):
        evaluate({"same": parse_expression("close + 1")}, panel, engine="compiled")


def test_what_a_window_took_is_answered_from_beyond_a_step_that_is_run_as_it_is(
    mark: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CHUNK_ROWS", 37)
    texts = ["rolling_mean(close, 5)", "rolling_std(mark(close), 5)", "rolling_std(close, 5) * mark(close)"]

    assert_compiled_bits_are_the_plain_ones(
        {text: parse_expression(text) for text in texts}, rough_panel(13, [90, 60])
    )


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_no_symbols_have_no_rows(engine: Literal["python", "compiled"]) -> None:
    panel = Panel.of(rough_panel(5, [3]).index.to_frame()[[]].assign(close=1.0).iloc[:0])

    features = evaluate({"mean": parse_expression("rolling_mean(close, 3)")}, panel, engine=engine)

    assert features.shape == (0, 1)


# -- which engine ----------------------------------------------------------------------------------------------------


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_loaded_code()
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "numba.core.errors", None)


def test_asking_for_compiled_features_without_numba_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without_numba(monkeypatch)

    with pytest.raises(MissingExtraError, match=r"core\[fast\]"):
        evaluate(
            {"mean": parse_expression("rolling_mean(close, 3)")}, rough_panel(4, [10]), engine="compiled"
        )


@pytest.mark.parametrize(("rows", "is_compiled"), [(10, True), (9, False)])
def test_a_panel_is_compiled_when_it_is_large_enough(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rows: int, is_compiled: bool
) -> None:
    without_numba(monkeypatch)
    monkeypatch.setattr(batch_module, "COMPILE_FROM", 10)
    expressions = {"mean": parse_expression("rolling_mean(close - open, 3)")}  # the difference needs no loop

    evaluate(expressions, rough_panel(5, [rows]))

    assert ("Compiling features needs an optional dependency" in caplog.text) == is_compiled


def test_a_large_panel_without_numba_is_computed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    without_numba(monkeypatch)
    monkeypatch.setattr(batch_module, "COMPILE_FROM", 1)
    monkeypatch.setattr(batch_module, "numba_is_here", lambda: False)

    assert evaluate({"mean": parse_expression("rolling_mean(close, 3)")}, rough_panel(6, [10])).shape == (
        10,
        1,
    )


def test_a_computation_needs_a_thread() -> None:
    with pytest.raises(ExpressionError, match="at least one thread"):
        evaluate({"close": col("close")}, rough_panel(7, [10]), n_threads=0)


def configured(**features: object) -> ModelConfig:
    return ModelConfig(
        framework="echo", lookback_period=5, features={"expressions": {"extra": "mark(close)"}, **features}
    )


@pytest.fixture
def mark() -> Iterator[list[str]]:
    """Register an operator that remembers which threads called it, as only a plain step can."""
    threads: list[str] = []

    def step(x: float) -> float:
        threads.append(threading.current_thread().name)
        return x

    OPERATORS.add("mark", Operator(step, compiled=False))
    yield threads
    OPERATORS.discard("mark")


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_configuration_says_whether_more_threads_compute(mark: list[str], n_threads: int) -> None:
    prepare_dataset(configured(n_threads=n_threads), random_panel(n_symbols=4, n_bars=60))

    by_workers = {name.startswith("ThreadPool") for name in mark}
    assert by_workers == {n_threads > 1}


@pytest.mark.parametrize("engine", ["auto", "python", "compiled"])
def test_a_configuration_says_which_engine_computes(
    mark: list[str], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_numba(monkeypatch)
    config = configured(engine=engine)

    if engine == "compiled":
        with pytest.raises(MissingExtraError):
            prepare_dataset(config, random_bars(n_bars=60))
    else:
        prepare_dataset(config, random_bars(n_bars=60))
        assert len(mark) == 60


# -- what can be compiled --------------------------------------------------------------------------------------------


def half(x: float) -> float:
    return x * 0.5


def half_or_more(x: float) -> float:
    return INF if x > 9.0 else sqrt(half(x))


def listing(x: float) -> float:
    return float(str(x))


def with_default(x: float, scale: float = 2.0) -> float:
    return x * scale


def uses_a_list(x: float) -> float:
    return x * len(OHLCV)


def test_a_kernels_text_holds_everything_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Operator(half_or_more)
    before = step_source(operator)

    def half(x: float) -> float:
        return x * 0.25

    monkeypatch.setitem(globals(), "half", half)
    after = step_source(operator)

    assert "x * 0.5" in before
    assert "x * 0.25" in after
    assert before != after


def test_a_kernel_writes_out_functions_constants_and_modules() -> None:
    source = step_source(Operator(half_or_more))

    assert 'INF = float("inf")' in source
    assert "import math" in source
    assert "def sqrt(x):" in source
    assert '"""Return' not in source


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda x: x, "not a single undecorated def"),
        (math.floor, "no plain function"),
        (with_default, "default values"),
        (uses_a_list, "'OHLCV', which is no number"),
        (eval("lambda x: x"), "source is not in a file"),
    ],
)
def test_a_step_that_cannot_be_written_out_is_refused_with_the_way_out(step: object, reason: str) -> None:
    with pytest.raises(ExpressionError, match=rf"{reason}.*compiled=False"):
        step_source(Operator(step))  # type: ignore[arg-type]


@pytest.fixture
def uncompilable() -> Iterator[dict[str, Expression]]:
    """Register an operator whose step numba has no way to compile, without saying so."""
    OPERATORS.add("listing", Operator(listing))
    yield {"listing": parse_expression("listing(rolling_mean(close, 2))")}
    OPERATORS.discard("listing")


def test_a_step_that_numba_refuses_is_an_error_when_compiling_was_asked_for(
    uncompilable: dict[str, Expression],
) -> None:
    with pytest.raises(ExpressionError, match=r"numba cannot compile the step 'listing'\. .*compiled=False"):
        evaluate(uncompilable, rough_panel(8, [10]), engine="compiled")


def test_a_step_that_numba_refuses_is_run_as_it_is_when_compiling_was_not_asked_for(
    uncompilable: dict[str, Expression], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    panel = rough_panel(9, [50])
    plain = evaluate(uncompilable, panel, engine="python")
    monkeypatch.setattr(batch_module, "COMPILE_FROM", 1)

    with caplog.at_level(logging.WARNING):
        assert evaluate(uncompilable, panel).tobytes() == plain.tobytes()

    assert "run as it is" in caplog.text


# -- where compiled code is kept -------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let the cache directory be chosen again, during and after the test."""
    forget_loaded_code()
    with monkeypatch.context() as patch:
        yield patch
    forget_loaded_code()


def test_the_cache_is_in_the_users_own_directory(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.delenv(cache.CACHE_DIRECTORY)
    fresh.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache.cache_directory() == tmp_path / "backtester-model"
    assert cache.cache_directory().stat().st_mode & 0o077 == 0


def blocked(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("no directory can be made below a file")
    return tmp_path / "file" / "cache"


def open_to_all(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)
    return tmp_path


def read_only(tmp_path: Path) -> Path:
    return Path("/proc/self/task")  # a directory of ours in which nobody may make a file, root neither


@pytest.mark.parametrize("unusable", [blocked, open_to_all, read_only])
def test_an_unusable_cache_gives_way_to_a_temporary_one_with_a_log_line(
    fresh: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, unusable
) -> None:
    fresh.setenv(cache.CACHE_DIRECTORY, str(unusable(tmp_path)))
    expressions = {"twice": parse_expression("exp(close)")}

    assert_compiled_bits_are_the_plain_ones(expressions, rough_panel(10, [200]))

    assert cache.cache_directory().name.startswith("backtester-model-kernels-")
    assert "for this process only" in caplog.text


def mean_of(n: int) -> dict[str, Expression]:
    return {"mean": parse_expression(f"rolling_mean(close, {n})")}


@pytest.fixture
def kernels_in(fresh: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty directory that compiled code is kept in."""
    fresh.setenv(cache.CACHE_DIRECTORY, str(tmp_path / "kernels"))
    return cache.cache_directory()


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-9] + b"\0" * 9],
)
def test_damaged_code_is_compiled_again(kernels_in: Path, damage) -> None:
    kernels.load_loop(OPERATORS["rolling_mean"])
    (file,) = kernels_in.glob("push_*")
    file.write_bytes(damage(file.read_bytes()))
    damaged = file.read_bytes()
    forget_loaded_code()

    assert_compiled_bits_are_the_plain_ones(mean_of(3), rough_panel(11, [60]))

    assert native._Code.read(file) is not None
    assert file.read_bytes() != damaged
    assert list(kernels_in.glob("*.tmp")) == []


@pytest.mark.parametrize(("part", "other"), [(0, "0.1"), (1, "0.2"), (3, "generic"), (4, "")])
def test_code_of_another_compiler_or_processor_is_not_loaded(
    kernels_in: Path, fresh: pytest.MonkeyPatch, part: int, other: str
) -> None:
    here = native._machine()  # versions of numba and llvmlite, system, processor, its features
    kernels.load_loop(OPERATORS["sqrt"])
    forget_loaded_code()
    fresh.setattr(native, "_machine", lambda: (*here[:part], other, *here[part + 1 :]))

    kernels.load_loop(OPERATORS["sqrt"])

    assert len(list(kernels_in.glob("sqrt_*"))) == 2


def test_code_that_cannot_be_kept_is_run_and_a_log_line_says_so(
    kernels_in: Path, fresh: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    fresh.setattr(Path, "replace", no_space)

    assert_compiled_bits_are_the_plain_ones(mean_of(4), rough_panel(14, [60]))

    assert "serves this process only: [Errno 28] No space left" in caplog.text
    assert list(kernels_in.iterdir()) == []


LATER = """
import sys
import pandas as pd
from backtester_model_core.bars import Panel
from backtester_model_core.features import OPERATORS, Operator, evaluate, parse_expression
from gamma import with_gamma
OPERATORS.add("with_gamma", Operator(with_gamma))
stamps = pd.date_range("2020", periods=5, name="timestamp")
panel = Panel.of(pd.DataFrame({"close": [0.5, 1.5, 2.5, 3.5, 4.5]}, index=stamps))
features = evaluate({"any": parse_expression(sys.argv[1])}, panel, engine="compiled")
print("numba" in sys.modules, features.tobytes().hex())
"""


GAMMA = """
import math

def with_gamma(x):
    return math.gamma(x)
"""


@pytest.mark.parametrize(("text", "later"), [("log(ema(close, 2) * 3)", False), ("with_gamma(close)", True)])
def test_a_later_process_compiles_nothing_again_and_imports_numba_only_for_what_numba_alone_has(
    fresh: pytest.MonkeyPatch, tmp_path: Path, text: str, later: bool
) -> None:
    (tmp_path / "gamma.py").write_text(GAMMA)
    fresh.setenv(cache.CACHE_DIRECTORY, str(tmp_path / "kernels"))
    fresh.setenv("PYTHONPATH", str(tmp_path))

    outputs = [
        subprocess.run(
            [sys.executable, "-c", LATER, text], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]

    assert [imported for imported, _ in outputs] == ["True", str(later)]
    assert outputs[0][1] == outputs[1][1]


def test_processes_that_compile_at_once_give_the_same_bits_and_keep_whole_files(kernels_in: Path) -> None:
    (kernels_in / "gamma.py").write_text(GAMMA)
    command = [sys.executable, "-c", LATER, "log(ema(close, 2) * 3)"]
    environ = {**os.environ, "PYTHONPATH": str(kernels_in)}
    together = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in together]

    kept = [native._Code.read(file) for file in kernels_in.glob("*.native")]
    assert outputs[0].split()[1] == outputs[1].split()[1]
    assert len(kept) == 6  # log, ema and a product, and the loops around them
    assert None not in kept
    assert list(kernels_in.glob("*.tmp")) == []


def raising(x: float) -> float:
    if x > 1.0:
        raise ValueError("a step that raises")
    return x


def test_a_compiled_step_that_ends_in_an_error_is_named() -> None:
    OPERATORS.add("raising", Operator(raising))

    with pytest.raises(ExpressionError, match="'raising' ended in an error"):
        evaluate({"any": parse_expression("raising(close)")}, Panel.of(random_bars(9)), engine="compiled")

    OPERATORS.discard("raising")
