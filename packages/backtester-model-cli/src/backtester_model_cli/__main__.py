"""``python -m backtester_model_cli``: the same command, for whom it is not on the path."""

from backtester_model_cli.main import app

app(prog_name="backtester-model")
