"""The guard around a plugin's import: what it changes is put back, what it hangs in is ended, and it is named."""
# ruff: noqa: NPY002 - the generator that everybody shares is what is looked at

import logging
import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from backtester_model_core.exceptions import PluginError
from backtester_model_core.plugins.guard import LIMIT, guarding, staying_alive
from backtester_model_core.plugins.time_limit import time_limit

NAME = "adapter 'murmur' of murmur-pack"
NO_LIMIT = {LIMIT: "0"}


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def wander():
    os.chdir("/")


def name_threads():
    os.environ["SOME_NUM_THREADS"] = "7"
    os.environ["OMP_NUM_THREADS"] = "7"


def replace_excepthook():
    sys.excepthook = print


CHANGES = {
    "seeds the random module": (lambda: random.seed(1), random.getstate),
    "seeds numpy.random": (lambda: np.random.seed(1), lambda: list(np.random.get_state()[1])),
    "filters everybody's warnings": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "sets up the root logger": (
        lambda: (logging.getLogger().setLevel(5), logging.disable(10)),
        lambda: (logging.getLogger().level, logging.getLogger().manager.disable),
    ),
    "changes NumPy's floating-point errors": (lambda: np.seterr(all="raise"), np.geterr),
    "changes the number of threads": (name_threads, lambda: dict(os.environ)),
    "changes the working directory": (wander, os.getcwd),
    "replaces sys.excepthook": (replace_excepthook, lambda: sys.excepthook),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_import_changes_is_put_back_and_named(monkeypatch, caplog, change):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    do, look = CHANGES[change]
    before = look()

    with guarding(NAME, environ=NO_LIMIT):
        do()

    assert look() == before
    (line,) = said(caplog)
    assert line.startswith(f"The {NAME} does more than it should when it is imported: it {change}.")


def test_what_an_import_changes_is_put_back_when_it_fails_too(caplog):
    before = random.getstate()

    def seed_and_break():
        random.seed(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), guarding(NAME, environ=NO_LIMIT):
        seed_and_break()

    assert random.getstate() == before
    assert "seeds the random module" in said(caplog)[0]


def test_numbers_that_are_drawn_are_put_back_and_nobody_is_accused(caplog):
    before = random.getstate(), np.random.get_state()[2]

    with guarding(NAME, environ=NO_LIMIT):
        [random.random() for _ in range(500)]
        np.random.rand(500)

    assert (random.getstate(), np.random.get_state()[2]) == before
    assert said(caplog) == []


def test_another_generator_in_numpys_place_is_put_back(caplog):
    kept = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        before = np.random.get_state(legacy=False)["state"]
        with guarding(NAME, environ=NO_LIMIT):
            np.random.random_sample()
        after = np.random.get_state(legacy=False)["state"]
    finally:
        np.random.set_bit_generator(kept)

    assert after == before
    assert "seeds numpy.random" in said(caplog)[0]


def test_a_filter_for_ones_own_warnings_may_stay(caplog):
    with warnings.catch_warnings():
        with guarding(NAME, environ=NO_LIMIT):
            warnings.filterwarnings("ignore", message="murmur is slow")
            warnings.simplefilter("ignore")
        kept = [each for each in warnings.filters if each[1] is not None and each[1].match("murmur is slow")]
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)

    assert len(kept) == 1
    assert "filters everybody's warnings" in said(caplog)[0]


def test_filters_that_are_taken_away_come_back():
    before = list(warnings.filters)

    with guarding(NAME, environ=NO_LIMIT):
        warnings.resetwarnings()

    assert list(warnings.filters) == before


def test_what_is_printed_goes_to_the_error_stream_and_later_prints_do_not(capsys, caplog):
    with guarding(NAME, environ=NO_LIMIT):
        kept = sys.stdout
        print("welcome")
        assert not kept.isatty()
    print("later", file=kept)

    out, err = capsys.readouterr()
    assert (out, "welcome" in err) == ("later\n", True)
    assert "it prints" in said(caplog)[0]


def test_other_threads_print_on_meanwhile(capsys, caplog):
    with guarding(NAME, environ=NO_LIMIT):
        other = threading.Thread(target=print, args=("from another thread",))
        other.start()
        other.join()

    assert capsys.readouterr().out == "from another thread\n"
    assert said(caplog) == []


class End(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit(3), r"tries to exit the process \(3\)"),
        (End(), "raises a End, which would end the process"),
    ],
)
def test_what_would_end_the_process_is_a_fault_of_the_plugin(error, message):
    with pytest.raises(PluginError, match=message), staying_alive():
        raise error


def test_ctrl_c_stays_ctrl_c():
    with pytest.raises(KeyboardInterrupt), guarding(NAME, environ={}):
        raise KeyboardInterrupt


# -- the time limit -------------------------------------------------------------------------------------------------


def short():
    return {LIMIT: "0.2"}


def test_a_hang_is_ended_and_says_where(caplog):
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(PluginError) as caught, guarding(NAME, environ=short()):
        time.sleep(60)

    assert f"longer than 0.2 seconds, at {__file__}:" in str(caught.value)
    assert f"{LIMIT} to wait longer" in str(caught.value)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_hang_that_catches_every_error_is_ended_in_the_end(caplog):
    def catch_everything_twice():
        for _ in range(2):
            try:
                time.sleep(60)
            except BaseException:  # noqa: BLE001 - what a stubborn plugin does
                continue
        time.sleep(60)

    with pytest.raises(PluginError, match="longer than"), guarding(NAME, environ=short()):
        catch_everything_twice()

    assert f"The import of the {NAME} takes longer than 0.2 seconds" in said(caplog)[0]


def test_a_hang_within_another_guarded_import_is_ended():
    outer = guarding("extension 'outer' of outer", environ={LIMIT: "60"})
    with outer, pytest.raises(PluginError, match="longer than"), guarding(NAME, environ=short()):
        time.sleep(60)

    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_slow_block_in_another_thread_is_named_and_left_to_end(caplog):
    def wait():
        with time_limit(0.1, what="The import", remedy="Wait."):
            time.sleep(0.5)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()

    (line,) = said(caplog)
    assert line.startswith(f"The import takes longer than 0.1 seconds, at {__file__}:")
    assert line.endswith("and cannot be interrupted. Wait.")


def test_an_alarm_of_somebody_else_stays_theirs(caplog):
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append("theirs"))
    try:
        with guarding(NAME, environ={LIMIT: "0.1"}):
            time.sleep(0.4)
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert heard == ["theirs"]
    assert "cannot be interrupted" in said(caplog)[0]


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(text):
    with (
        pytest.raises(PluginError, match="is not a number of seconds"),
        guarding(NAME, environ={LIMIT: text}),
    ):
        pass


def test_a_folder_that_was_removed_is_no_fault_of_the_plugin(tmp_path, monkeypatch, caplog):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with guarding(NAME, environ=NO_LIMIT):
        pass

    assert said(caplog) == []
