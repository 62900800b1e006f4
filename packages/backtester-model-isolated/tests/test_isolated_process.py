"""Processes that die, hang, lie or are left alone: each ends in one error, and in nothing that is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from backtester_model_core.exceptions import ConfigError, IsolationError, TrainingError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.testing.specimens import frame, series
from backtester_model_isolated import children, process
from backtester_model_isolated.children import CHILDREN, Children
from backtester_model_isolated.process import Place

VALUES, TARGET = synthetic_rows(60, model_type="regression")
ADAPTER = plugins().adapter("isolated")


def moody(python, mood, **fields):
    """Return the configuration of an adapter in some mood."""
    folder = str(fields.pop("folder", ""))
    options = {"mood": mood, "folder": folder}
    return load_config(
        {
            "framework": "isolated",
            "python": python,
            "adapter": "moody",
            "model_type": "regression",
            "options": options,
            **fields,
        }
    )


def train(config):
    return ADAPTER.train_model(ADAPTER.initialize_model(config), VALUES, TARGET)


def is_running(pid: int) -> bool:
    """Say whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=60.0):
    due = time.monotonic() + seconds
    while not condition() and time.monotonic() < due:
        time.sleep(0.02)
    return condition()


# -- adapters that go wrong ----------------------------------------------------------------------------------------


def test_a_killed_process_is_reported_with_its_last_words(allowed):
    config = moody(allowed, "killed")

    with pytest.raises(IsolationError, match=r"SIGKILL before it answered; it was asked 2 times") as caught:
        train(config)

    assert "the last straw" in str(caught.value)
    assert allowed in str(caught.value)


def test_an_adapter_that_exits_is_reported_with_its_code(allowed):
    config = moody(allowed, "exits", restarts=0)

    with pytest.raises(IsolationError, match="ended with exit code 7 before it answered; it was asked once"):
        train(config)


def test_a_call_whose_process_died_is_asked_again_in_another(allowed, tmp_path):
    config = moody(allowed, "killed once", folder=tmp_path / "was here")

    model = train(config)

    assert (tmp_path / "was here").exists()
    assert np.isfinite(ADAPTER.predict(model, VALUES)).all()


def test_a_model_outlives_the_process_that_trained_it(allowed, tmp_path):
    model = train(moody(allowed, "killed later", folder=tmp_path / "was here"))

    forecast = ADAPTER.predict(model, VALUES)

    assert (tmp_path / "was here").exists()
    assert np.corrcoef(forecast, TARGET)[0, 1] > 0.5


@pytest.mark.parametrize("mood", ["hangs", "floods"])
def test_a_process_that_does_not_answer_is_ended_at_its_limit(allowed, mood):
    config = moody(allowed, mood)
    model = ADAPTER.initialize_model(config)
    hurried = load_config({**config.model_dump(mode="json"), "time_limit_seconds": 0.5})

    with pytest.raises(IsolationError, match=r"within 0\.5 s and was ended.*time_limit_seconds"):
        ADAPTER.train_model(type(model)(hurried), VALUES, TARGET)

    assert np.isfinite(ADAPTER.predict(train(moody(allowed, "calm")), VALUES)).all()


def test_what_an_adapter_prints_is_no_answer(allowed):
    model = train(moody(allowed, "prints"))

    forecast = ADAPTER.predict(model, VALUES)

    assert np.isfinite(forecast).all()


def test_an_error_of_the_project_comes_back_as_itself(allowed):
    with pytest.raises(TrainingError, match=r"^These rows teach nothing\.$"):
        train(moody(allowed, "refuses"))


def test_any_other_error_comes_back_with_where_it_was_raised(allowed):
    with pytest.raises(IsolationError, match="raised KeyError: 'a column that nobody has'") as caught:
        train(moody(allowed, "breaks"))

    assert "in train_model" in str(caught.value)


def test_forecasts_of_another_shape_are_refused(allowed):
    model = train(moody(allowed, "wide"))

    with pytest.raises(IsolationError, match=r"of the shape \(60,\) are wanted"):
        ADAPTER.predict(model, VALUES)


def test_an_adapter_that_cannot_save_is_refused(allowed):
    fields = {"framework": "isolated", "python": allowed, "adapter": "forgetful"}

    with pytest.raises(ConfigError, match=r"does not save its models.*framework = 'forgetful'"):
        create_model(load_config(fields))


# -- what poses as an interpreter ------------------------------------------------------------------------------------

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
    config = moody(pretender(code), "calm", restarts=0, **limit)

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
    config = moody(pretender(DESCRIBES + "send({'notes': []})"), "calm")

    with pytest.raises(IsolationError, match="a trained model is at least one file"):
        train(config)


def test_a_process_that_will_not_know_its_model_is_not_asked_for_ever(pretender):
    answers = (
        "send({'notes': []}, files={'a': b'x'})" + "; read_message(requests); send({'known': False})" * 2
    )
    model = train(moody(pretender(f"{DESCRIBES}{answers}; read_message(requests)"), "calm"))

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
        ADAPTER.initialize_model(moody(str(path), "calm"))


def test_words_that_would_steer_a_terminal_are_masked(pretender):
    config = moody(pretender(r"print('\x1b[31m red', file=sys.stderr); sys.exit(3)"), "calm")

    with pytest.raises(IsolationError) as caught:
        ADAPTER.initialize_model(config)

    assert "?[31m red" in str(caught.value)


def test_a_refused_start_leaves_no_file_open(pretender):
    config = moody(pretender("sys.exit(3)"), "calm")
    opened = set(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(IsolationError):
            ADAPTER.initialize_model(config)

    assert set(os.listdir("/proc/self/fd")) == opened


# -- who is left -----------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_the_call_and_leaves_the_adapter_usable(allowed, tmp_path):
    config = moody(allowed, "busy with children", folder=tmp_path / "pids")
    model = ADAPTER.initialize_model(config)

    def interrupt():
        wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        ADAPTER.train_model(model, VALUES, TARGET)

    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert wait_until(lambda: not any(map(is_running, pids)))
    assert np.isfinite(ADAPTER.predict(train(moody(allowed, "calm")), VALUES)).all()


ORPHANING = """
import sys
sys.path.insert(0, {tests!r})
from test_isolated_process import moody, train
train(moody({python!r}, "busy with children", folder={pids!r}))
"""


def test_a_process_leaves_when_the_one_that_asks_is_killed(allowed, tmp_path):
    pids = tmp_path / "pids"
    code = ORPHANING.format(tests=str(Path(__file__).parent), python=allowed, pids=str(pids))
    asking = subprocess.Popen([sys.executable, "-c", code])
    assert wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))

    asking.kill()
    asking.wait()

    assert wait_until(lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()))


def who_answers(python):
    config = moody(python, "says who")
    return int(ADAPTER.predict(train(config), VALUES)[0])


def test_one_process_answers_all_questions_of_its_place(allowed):
    first = who_answers(allowed)

    assert who_answers(allowed) == first
    assert is_running(first)


def test_a_forked_copy_starts_a_process_of_its_own(allowed):
    mine = who_answers(allowed)
    reading, writing = os.pipe()
    copy = os.fork()
    if copy == 0:
        os.write(writing, str(who_answers(allowed)).encode())
        CHILDREN.close()
        os._exit(0)
    os.waitpid(copy, 0)

    theirs = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)

    assert theirs != mine
    assert who_answers(allowed) == mine


def test_a_process_that_died_between_two_questions_is_replaced(allowed):
    first = who_answers(allowed)
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: not is_running(first))

    second = who_answers(allowed)

    assert second != first


def test_threads_ask_one_after_the_other(allowed):
    model = train(moody(allowed, "calm"))
    expected = ADAPTER.predict(model, VALUES)
    answers = [None] * 8

    def ask(number):
        for _ in range(10):
            answers[number] = ADAPTER.predict(model, VALUES + number)

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert np.array_equal(answers[0], expected)
    for number, answer in enumerate(answers):
        assert np.array_equal(answer, ADAPTER.predict(model, VALUES + number))


def test_processes_make_room_and_leave_in_the_end(allowed, monkeypatch):
    monkeypatch.setattr(children, "MAX_PROCESSES", 2)
    mine = Children()
    monkeypatch.setattr("backtester_model_isolated.adapter.CHILDREN", mine)
    pids = [
        int(ADAPTER.predict(train(moody(allowed, "says who", threads=threads)), VALUES)[0])
        for threads in (1, 2, 3)
    ]

    running = [is_running(pid) for pid in pids]
    mine.close()

    assert running == [False, True, True]
    assert not any(map(is_running, pids))


def test_a_process_ended_by_a_signal_without_a_name_is_reported(pretender):
    config = moody(pretender(f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 1})"), "calm")

    with pytest.raises(IsolationError, match=f"was ended by signal {signal.SIGRTMIN + 1}"):
        ADAPTER.initialize_model(config)


def test_threads_of_the_other_process_are_those_that_are_given(allowed):
    model = train(moody(allowed, "says threads", threads=3))

    assert ADAPTER.predict(model, VALUES)[0] == 3


def test_python_variables_of_this_process_do_not_steer_the_other(monkeypatch):
    environ = {"PYTHONPATH": "/here", "PYTHONSTARTUP": "x", "HOME": "/home", "OMP_NUM_THREADS": "2"}

    assert process._environment(environ, None) == {"HOME": "/home", "OMP_NUM_THREADS": "2"}
    assert process._environment(environ, 1)["MKL_NUM_THREADS"] == "1"


def test_a_place_is_told_by_interpreter_adapter_and_threads():
    assert len({Place("/a", "x"), Place("/a", "y"), Place("/b", "x"), Place("/a", "x", 1)}) == 4


def test_a_model_through_the_whole_house_is_asked_again_after_its_process_died(allowed):
    config = moody(allowed, "calm")
    model = create_model(config)
    model.train(frame(VALUES), series(TARGET))
    before = model.predict(frame(VALUES))
    os.kill(who_answers(allowed), signal.SIGKILL)

    after = model.predict(frame(VALUES))

    assert np.array_equal(before, after)
