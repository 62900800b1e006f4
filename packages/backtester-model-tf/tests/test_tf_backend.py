"""How TensorFlow comes in: only when it is needed, quietly, on the right back end, with its share of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from backtester_model_core.exceptions import MissingExtraError, PluginError
from backtester_model_tf import backend
from backtester_model_tf.backend import budget_threads, check_backend, quietly


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environ}, capture_output=True, text=True, check=False
    )


def test_the_configuration_imports_neither_keras_nor_tensorflow() -> None:
    code = (
        "import sys, backtester_model_tf as tf\n"
        "from backtester_model_core.factory import load_config\n"
        "tf.TensorFlowModelConfig(model_architecture={'layers': [{'type': 'lstm', 'units': 3}]})\n"
        "print(sorted({'keras', 'tensorflow', 'h5py'} & set(sys.modules)))"
    )

    assert run(code).stdout == "[]\n"


def test_tensorflow_comes_in_without_a_word_and_with_its_share_of_threads() -> None:
    code = (
        "import os, backtester_model_tf.adapter, tensorflow as tf\n"
        "print(os.environ['TF_CPP_MIN_LOG_LEVEL'], tf.config.threading.get_intra_op_parallelism_threads())"
    )

    done = run(code, OMP_NUM_THREADS="3")

    assert (done.stdout, done.stderr) == ("2 3\n", "")


def test_what_others_write_meanwhile_is_not_lost(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)

    with quietly():
        os.write(2, b"I0000 00:00:1 port.cc:153] oneDNN custom operations are on.\nan error\n")

    assert capfd.readouterr().err == "an error\n"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quietly():
        os.write(2, b"I0000 all of it\n")
    assert capfd.readouterr().err == "I0000 all of it\n"


@pytest.mark.parametrize("chosen", ["torch", "jax"])
def test_another_back_end_in_the_environment_is_refused(monkeypatch: Any, chosen: str) -> None:
    monkeypatch.setenv("KERAS_BACKEND", chosen)

    with pytest.raises(PluginError, match=f"KERAS_BACKEND={chosen} in the environment.*Unset it"):
        check_backend()


def test_a_keras_on_another_back_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(config=SimpleNamespace(backend=lambda: "torch"))
    monkeypatch.setitem(sys.modules, "keras", other)

    with pytest.raises(PluginError, match="already imported with the back end 'torch'"):
        check_backend()


def test_without_tensorflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda _: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'backtester-model-tf\[cpu\]'"):
        check_backend()


def tensorflow_with(threads: int, **set_threads: Any) -> Any:
    """Stand in for the few calls of TensorFlow's that can only be made before its first use."""
    threading = SimpleNamespace(get_intra_op_parallelism_threads=lambda: threads, **set_threads)
    return SimpleNamespace(config=SimpleNamespace(threading=threading))


@pytest.mark.parametrize(
    ("threads", "environ"),
    [
        (2, {"OMP_NUM_THREADS": "1"}),
        (0, {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "2"}),
        (0, {"OMP_NUM_THREADS": "some"}),
        (0, {}),
    ],
    ids=str,
)
def test_threads_that_the_user_has_set_stay(threads: int, environ: dict[str, str]) -> None:
    assert (
        budget_threads(tensorflow_with(threads), environ) is None
    )  # nothing is set: there is nothing to call


def test_a_budget_that_comes_too_late_is_noted() -> None:
    def refuse(_: int) -> None:
        raise RuntimeError("cannot be modified after initialization")

    late = tensorflow_with(0, set_intra_op_parallelism_threads=refuse)

    note = budget_threads(late, {"OMP_NUM_THREADS": "2"})

    assert note == "TensorFlow was in use before, so OMP_NUM_THREADS=2 does not bound its threads."
