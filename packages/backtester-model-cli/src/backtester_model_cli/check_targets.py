"""From what a user names to the verdict on it: a file, something installed, a feature set, a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from backtester_model_cli.validate import CONFIG_ENDINGS

if TYPE_CHECKING:
    import pandas as pd

    from backtester_model_core.testing import LookAheadVerdict

Progress = Callable[[int, int], None]


def verdict_on(
    target: str, *, bars: Path | None, symbol: str | None, panel: bool, progress: Progress | None
) -> LookAheadVerdict:
    """Return the verdict on what a target names.

    Args:
        target: A configuration's file, the name of an adapter, an extension or a feature set, or FILE.py:FUNCTION.
        bars: A file or folder of bars; the shipped ones when not given.
        symbol: The one symbol to use.
        panel: Whether a function is handed the bars of all symbols at once.
        progress: Called with (checks done, checks in all).

    Raises:
        typer.BadParameter: When the target is none of these.
    """
    file, _, function = target.rpartition(":")
    if file.endswith(".py"):
        return _on_function(Path(file), function, _bars(bars, symbol), panel=panel, progress=progress)
    if panel:
        raise typer.BadParameter("--panel is for functions; everything else is asked of all symbols anyway.")
    if target.endswith(".py"):
        raise typer.BadParameter(f"Name the function, as {target}:FUNCTION.")
    if Path(target).suffix.lower() in CONFIG_ENDINGS:
        return _on_config(Path(target), bars=bars, symbol=symbol, progress=progress)
    return _on_name(target, _bars(bars, symbol), progress=progress)


def _bars(path: Path | None, symbol: str | None) -> pd.DataFrame:
    """Return the bars of a file or folder, or the shipped ones."""
    from backtester_model_core.config import DataConfig
    from backtester_model_core.sources import DataRetrieval

    symbols = None if symbol is None else (symbol,)
    config = (
        DataConfig(source="sample", symbols=symbols)
        if path is None
        else DataConfig(path=str(path), symbols=symbols)
    )
    return DataRetrieval(config).get_data()


def _on_config(
    file: Path, *, bars: Path | None, symbol: str | None, progress: Progress | None
) -> LookAheadVerdict:
    """Check a configuration on its own bars, or on others."""
    from backtester_model_cli.bars_input import with_bars
    from backtester_model_core.config import read_config_file
    from backtester_model_core.factory import load_config
    from backtester_model_core.sources import DataRetrieval
    from backtester_model_core.testing import check_config

    settings = load_config(file if bars is None else read_config_file(file))
    has_bars = settings.data_config.path is not None or settings.data_config.source != "auto"
    settings = with_bars(settings, bars=bars, symbol=symbol, sample=bars is None and not has_bars)
    return check_config(
        settings, DataRetrieval(settings.data_config).get_data(), name=str(file), progress=progress
    )


def _on_name(name: str, bars: pd.DataFrame, *, progress: Progress | None) -> LookAheadVerdict:
    """Check an adapter, an extension or a feature set, the first of them that has the name."""
    from backtester_model_core.features import FEATURE_SETS, feature_set
    from backtester_model_core.plugins import plugins
    from backtester_model_core.testing import check_expressions, check_extension, check_framework

    listing = plugins().listing()
    if any(info.kind == "adapter" and info.name == name for info in listing):
        return check_framework(name, bars, progress=progress)
    if any(info.kind == "extension" and info.name == name for info in listing):
        return check_extension(name, bars, progress=progress)
    if name in FEATURE_SETS:
        return check_expressions(feature_set(name), bars, name=name, progress=progress)
    known = {kind: [info.name for info in listing if info.kind == kind] for kind in ("adapter", "extension")}
    raise typer.BadParameter(
        f"Nothing is called {name!r}. Adapters: {_listed(known['adapter'])}. Extensions: "
        f"{_listed(known['extension'])}. Feature sets: {_listed(list(FEATURE_SETS))}. "
        f"Or a configuration ({', '.join(sorted(CONFIG_ENDINGS))}), or FILE.py:FUNCTION."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _on_function(
    file: Path, function: str, bars: pd.DataFrame, *, panel: bool, progress: Progress | None
) -> LookAheadVerdict:
    """Check a function of the user's own, loaded anew for each call."""
    from backtester_model_core.testing import check_function, forgetting
    from backtester_model_core.testing.verdict import one_symbol

    load = _loader(file, function)
    given = bars if panel else one_symbol(bars)
    return check_function(forgetting(load), given, name=f"{file.name}:{function}", progress=progress)


def _loader(file: Path, function: str) -> Callable[[], Any]:
    """Return what runs a file and hands out its function, once it is sure that there is one.

    Raises:
        typer.BadParameter: When the file cannot be read or run, or has no such function.
    """
    try:
        code = compile(file.read_bytes(), str(file), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as Python: {error}") from error
    load = partial(_run, code, file, function)
    load()
    return load


def _run(code: Any, file: Path, function: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": file.stem, "__file__": str(file)}
    try:
        exec(code, names)  # noqa: S102 - the user names the file to have it run
    except Exception as error:
        raise typer.BadParameter(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    found = names.get(function)
    if not callable(found):
        functions = [name for name, thing in names.items() if callable(thing) and not name.startswith("_")]
        raise typer.BadParameter(f"{file} has no function {function!r}; it has {_listed(functions)}.")
    return found  # type: ignore[no-any-return]
