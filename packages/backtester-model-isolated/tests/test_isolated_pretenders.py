"""Programs that pose as interpreters: each ends in one error that says what it is, and leaves nothing open."""

from __future__ import annotations

import os
import signal

import pytest

from backtester_model_core.exceptions import IsolationError
from backtester_model_core.factory import load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import synthetic_rows
from backtester_model_isolated import process

VALUES, TARGET = synthetic_rows(60, model_type="regression")
ADAPTER = plugins().adapter("isolated")


def posing(python, **fields):
    """Return a configuration that names a program as its interpreter."""
    shared = {"framework": "isolated", "adapter": "any", "model_type": "regression", "restarts": 0}
    return load_config({**shared, "python": python, **fields})


def train(config):
    return ADAPTER.train_model(ADAPTER.initialize_model(config), VALUES, TARGET)


GREETS = """
import os, time
from backtester_model_isolated.child import read_message, write_message
from backtester_model_isolated.protocol import Message
requests, answers = map(int, sys.argv[-2:])
def send(facts, **rest): write_message(answers, Message(facts, **rest))
"""
HELLO = (
    GREETS
    + """
from importlib.metadata import version
send({"core": version("backtester-model-core"), "api": 1})
read_message(requests)
"""
)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "sys.exit('No module named backtester_model_isolated')",
            r"exit code 1\).*needs the packages(.|\n)*No module",
        ),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("import os; os.write(int(sys.argv[-1]), b'x' * 50)", "which is no message"),
        (
            "import os; os.write(int(sys.argv[-1]), b'BMIP' + bytes([9, 0]) + bytes(20))",
            "version 9 of the protocol",
        ),
        ("import os; os.write(int(sys.argv[-1]), b'BMIP' + bytes([1, 0, 0, 0]) + b'x' * 50)", "expected"),
        ("import os, pickle; os.write(int(sys.argv[-1]), pickle.dumps(print) * 10)", "which is no message"),
        ("import os, time; os.close(int(sys.argv[-1])); time.sleep(600)", "SIGKILL"),
        ("import time; time.sleep(600)", "says nothing for 3 s"),
        (GREETS + "send({'core': '0.1.0', 'api': 1, 'run': 'this'})", "run: Extra inputs"),
        (GREETS + "send({'core': '9.9', 'api': 1}); time.sleep(600)", "has backtester-model-core 9.9"),
        (GREETS + "send({'core': '0.1.0', 'api': 2}); time.sleep(600)", "interface level 2"),
        (HELLO + "os.write(answers, b'x' * 50)", "sent what is no answer: it begins with"),
        (HELLO + "send({'context_rows': 0})", "uses_validation: Field required"),
        (
            HELLO + "send({'context_rows': -1, 'uses_validation': True, 'can': [], 'versions': []})",
            "context_rows",
        ),
        (HELLO + "send({'error': 'ConfigError', 'message': 1})", "message: Input should be a valid string"),
        (HELLO + "send({'error': 'SystemExit', 'message': 'x'})", "raised SystemExit: x"),
    ],
)
def test_a_program_that_is_no_such_interpreter_is_refused(pretender, monkeypatch, code, reason):
    monkeypatch.setattr(process, "LEAVE_SECONDS", 0.3)
    limit = {"time_limit_seconds": 3.0} if "for 3 s" in reason else {}
    config = posing(pretender(code), **limit)

    with pytest.raises(IsolationError, match=reason):
        ADAPTER.initialize_model(config)


DESCRIBES = (
    HELLO
    + """
can = ["load_model", "save_model"]
send({"context_rows": 0, "uses_validation": False, "can": can, "versions": []})
read_message(requests)
"""
)


def test_a_training_that_leads_to_no_file_is_refused(pretender):
    config = posing(pretender(DESCRIBES + "send({'notes': []})"))

    with pytest.raises(IsolationError, match="a trained model is at least one file"):
        train(config)


def test_a_process_that_will_not_know_its_model_is_not_asked_for_ever(pretender):
    answers = (
        "send({'notes': []}, files={'a': b'x'})" + "; read_message(requests); send({'known': False})" * 2
    )
    model = train(posing(pretender(f"{DESCRIBES}{answers}; read_message(requests)")))

    with pytest.raises(IsolationError, match="does not take the model that it gave"):
        ADAPTER.predict(model, VALUES)


@pytest.mark.parametrize("kind", ["missing", "folder", "plain file"])
def test_an_interpreter_that_cannot_be_run_is_named(tmp_path, monkeypatch, kind):
    path = tmp_path / "python"
    if kind == "folder":
        path.mkdir()
    elif kind == "plain file":
        path.write_text("not a program")
    monkeypatch.setenv("BACKTESTER_MODEL_INTERPRETERS", str(path))

    with pytest.raises(IsolationError, match=f"{path} does not start: (No such file|Permission denied)"):
        ADAPTER.initialize_model(posing(str(path)))


def test_words_that_would_steer_a_terminal_are_masked(pretender):
    config = posing(pretender(r"print('\x1b[31m red', file=sys.stderr); sys.exit(3)"))

    with pytest.raises(IsolationError) as caught:
        ADAPTER.initialize_model(config)

    assert "?[31m red" in str(caught.value)


def test_a_refused_start_leaves_no_file_open(pretender):
    config = posing(pretender("sys.exit(3)"))
    opened = set(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(IsolationError):
            ADAPTER.initialize_model(config)

    assert set(os.listdir("/proc/self/fd")) == opened


def test_a_process_ended_by_a_signal_without_a_name_is_reported(pretender):
    config = posing(pretender(f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 1})"))

    with pytest.raises(IsolationError, match=f"was ended by signal {signal.SIGRTMIN + 1}"):
        ADAPTER.initialize_model(config)
