"""Each hostile plugin: what it does when it is imported, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

GOOD = """
    from backtester_model_core.testing import EchoAdapter
    class Adapter(EchoAdapter):
        config_class = type("Config", (EchoAdapter.config_class.__mro__[1],), {})
"""
GOOD_EXTENSION = """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl(wrapper=True)
    def backtester_train(model):
        return (yield)
"""


@dataclass(frozen=True)
class Hostile:
    """One hostile plugin.

    Attributes:
        name: Its entry point; for an adapter the framework.
        does: What it does, in words for the table.
        code: Its module.
        refused: What the error or the listed reason must say; empty where it may be used nevertheless.
        logged: What the log must say.
        value: What its entry point names, ``{}`` standing for the module.
        distributions: Who installs it, when not ``of-<name>`` alone.
        is_torn: Whether its metadata are gone, as after an uninstallation that was cut off.
        is_extension: Whether it is an extension.
        waits: Whether it comes to an end only by the time limit.
        is_claimant: Whether it takes another's name, whose owner is the one who answers.
        in_thread: Whether it is imported from another thread than the main one.
    """

    name: str
    does: str
    code: str = ""
    refused: str = ""
    logged: str = ""
    value: str = "{}:Adapter"
    distributions: tuple[str, ...] = ()
    is_torn: bool = False
    is_extension: bool = False
    waits: bool = False
    is_claimant: bool = False
    in_thread: bool = False

    @property
    def owners(self) -> tuple[str, ...]:
        """The distributions that install it."""
        return self.distributions or (f"of-{self.name.replace('_', '-')}",)

    @property
    def module(self) -> str:
        """Its module's code."""
        return dedent(self.code)


def adapter(name: str, does: str, first: str = "", *, last: str = "", **fields: object) -> Hostile:
    """Return an adapter that would be good but for some lines before or within its class."""
    code = f"{dedent(first)}\n{dedent(GOOD)}\n    {last}\n"
    return Hostile(name, does, code, **fields)  # type: ignore[arg-type]


FOREVER = "import time\ntime.sleep(600)"
STUBBORN = """
    import time
    while True:
        try:
            time.sleep(600)
        except Exception:
            pass
"""
SPINNING = "while True:\n    pass"

ADAPTERS = [
    adapter("good", "nothing wrong"),
    adapter("fails", "its import fails", "import a_library_that_nobody_has", refused="ModuleNotFoundError"),
    adapter("unreadable", "is no Python", "this is no python", refused="SyntaxError"),
    adapter("nowhere", "its module is not there", value="not_there:Adapter", refused="ModuleNotFoundError"),
    adapter("absent", "its class is not there", value="{}:Other", refused="AttributeError"),
    adapter("garbled", "its entry point is no name", value="{}: :what", refused="does not load"),
    adapter("exits", "exits the process", "import sys; sys.exit(3)", refused=r"exit the process \(3\)"),
    adapter(
        "ends",
        "raises what no except catches",
        "class End(BaseException): pass\nraise End",
        refused="raises a End",
    ),
    adapter(
        "dies_late", "exits when it is made", last="def __init__(self): raise SystemExit", refused="exit the"
    ),
    adapter("newer", "speaks a newer interface", last="api = 99", refused="interface level 99"),
    adapter("older", "speaks an older interface", last="api = 0", refused="interface level 0"),
    Hostile("foreign", "is no adapter", "class Adapter: pass", "not a subclass of ModelFrameworkAdapter"),
    adapter("twins", "shares its name", distributions=("of-one", "of-two"), refused="of-one.* and of-two"),
    adapter(
        "scipy",
        "takes a name of ours",
        "raise RuntimeError('imported')",
        distributions=("of-scipy",),
        is_claimant=True,
        refused="only backtester-model-scipy may claim",
    ),
    adapter(
        "torn", "has lost its metadata", "import a_library", is_torn=True, refused="of unknown does not load"
    ),
    adapter("prints", "prints", "print('welcome to this adapter')", logged="prints"),
    adapter(
        "seeds",
        "seeds the random numbers",
        "import random, numpy\nrandom.seed(1); numpy.random.seed(1)",
        logged="seeds the random module, seeds numpy.random",
    ),
    adapter(
        "draws", "draws random numbers", "import random, numpy\nrandom.random(); numpy.random.rand(1000)"
    ),
    adapter(
        "logs",
        "sets up logging",
        "import logging\nlogging.basicConfig(level=10); logging.disable(50)",
        logged="sets up the root logger",
    ),
    adapter(
        "silences",
        "silences all warnings",
        "import warnings\nwarnings.simplefilter('ignore')",
        logged="filters everybody's warnings",
    ),
    adapter("resets", "resets all warnings", "import warnings\nwarnings.resetwarnings()", logged="warnings"),
    adapter(
        "threads",
        "changes the threads of BLAS",
        "import os, threadpoolctl\nos.environ['OMP_NUM_THREADS'] = '7'; threadpoolctl.threadpool_limits(2)",
        logged="changes the number of threads",
    ),
    adapter(
        "wanders",
        "changes folder, float errors and excepthook",
        "import os, sys, numpy\nos.chdir('/'); numpy.seterr(all='raise'); sys.excepthook = print",
        logged="floating-point errors, changes the working directory, replaces sys.excepthook",
    ),
    adapter("hangs", "hangs", FOREVER, refused="takes longer than 1 seconds", waits=True),
    adapter(
        "stubborn", "hangs, whatever is raised", STUBBORN, refused="takes longer than 1 seconds", waits=True
    ),
    adapter("spins", "hangs, and works hard", SPINNING, refused="takes longer than 1 seconds", waits=True),
    adapter(
        "aside",
        "hangs in another thread",
        FOREVER,
        logged="'aside' of of-aside takes longer than 1 seconds, at .* cannot be interrupted",
        waits=True,
        in_thread=True,
    ),
]


def extension(
    name: str, does: str, first: str = "", *, last: str = GOOD_EXTENSION, **fields: object
) -> Hostile:
    """Return an extension that would be good but for some lines before."""
    fields = {"value": "{}", **fields}
    return Hostile(name, does, f"{dedent(first)}\n{dedent(last)}", is_extension=True, **fields)  # type: ignore[arg-type]


REGISTERS = """
    from backtester_model_core.hookspecs import hookimpl
    @hookimpl
    def backtester_register(registry):
        {}
"""

EXTENSIONS = [
    extension("good_one", "nothing wrong"),
    extension(
        "broken", "its import fails", "import a_library_that_nobody_has", refused="ModuleNotFoundError"
    ),
    extension("leaving", "exits the process", "raise SystemExit(4)", refused=r"exit the process \(4\)"),
    extension("missing", "its module is not there", value="not_there", refused="ModuleNotFoundError"),
    extension(
        "misspelt", "answers no hook", last=GOOD_EXTENSION.replace("train", "trian"), refused="unknown hook"
    ),
    extension(
        "shadowing",
        "takes an operator's name of ours",
        last=REGISTERS.format("registry.add_operator('ema', None)"),
        refused="'ema'",
    ),
    extension(
        "overriding",
        "takes a label's name of ours",
        last=REGISTERS.format("registry.add_label('direction', None)"),
        refused="'direction'",
    ),
    extension("loud", "prints", "print('welcome to this extension')", logged="prints"),
    extension(
        "sowing",
        "seeds the random numbers",
        "import random\nrandom.seed(1)",
        logged="seeds the random module",
    ),
    extension("waiting", "hangs", FOREVER, refused="takes longer than 1 seconds", waits=True),
    extension("good_two", "nothing wrong"),
]
