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

from backtester_model_core.exceptions import AdapterNotFoundError, ConfigError, IsolationError, TrainingError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.testing.contract.case import frame, series
from backtester_model_isolated import children, process, protocol
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


def test_a_killed_process_is_missed_although_its_worker_holds_its_pipes(allowed):
    config = moody(allowed, "killed beside its worker", restarts=0)

    with pytest.raises(IsolationError, match="SIGKILL before it answered"):
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


def test_an_adapter_that_is_missing_is_missed_in_its_environment(allowed):
    config = load_config({"framework": "isolated", "python": allowed, "adapter": "nowhere"})

    with pytest.raises(AdapterNotFoundError, match=f"In the environment of {allowed}: No adapter.*'nowhere'"):
        ADAPTER.initialize_model(config)


def test_rows_that_are_too_large_are_kept_here_and_the_process_too(allowed, monkeypatch):
    model = train(moody(allowed, "says who"))
    first = ADAPTER.predict(model, VALUES)[0]
    with monkeypatch.context() as small:
        small.setattr(protocol, "MAX_REQUEST_BYTES", 100)
        with pytest.raises(IsolationError, match=r"cannot be asked: a message of .* too large to be sent"):
            ADAPTER.predict(model, VALUES)

    assert ADAPTER.predict(model, VALUES)[0] == first


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


# -- who is left -----------------------------------------------------------------------------------------------------


@pytest.fixture
def interruptible():
    """Take Ctrl-C as a terminal's program does; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_call_and_leaves_the_adapter_usable(allowed, tmp_path, interruptible):
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
