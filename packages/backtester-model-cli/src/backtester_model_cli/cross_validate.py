"""``backtester-model cross-validate``: how stable a model is, fold by fold."""

from __future__ import annotations

import json

from backtester_model_cli.bars_input import load_with_bars
from backtester_model_cli.console import results_console, write_json
from backtester_model_cli.exits import one_message
from backtester_model_cli.options import (
    BarsOption,
    ConfigArgument,
    DebugOption,
    JsonOption,
    SampleOption,
    SymbolOption,
)
from backtester_model_cli.result_tables import frame_table


def cross_validate(
    config: ConfigArgument,
    bars: BarsOption = None,
    sample: SampleOption = False,
    symbol: SymbolOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the metrics of each fold of a purged k-fold cross-validation.

    Folds train on bars before and after their own, so this says how stable a model is and not how it would have
    traded: for that, run a walk-forward.
    """
    with one_message(debug=debug):
        from backtester_model_core.factory import create_model
        from backtester_model_core.runs import encode_json
        from backtester_model_core.sources import DataRetrieval

        settings = load_with_bars(config, bars=bars, symbol=symbol, sample=sample)
        folds = create_model(settings).cross_validate(DataRetrieval(settings.data_config).get_data())
        if as_json:
            write_json(json.loads(encode_json(folds.reset_index().to_dict(orient="records"))))
            return
        results_console().print(frame_table(f"Purged cross-validation of {settings.model_name}", folds))
