"""Checks of an adapter's configuration class."""

from __future__ import annotations

import ast
import pickle
import sys
from functools import cache
from pathlib import Path

from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.factory import load_config
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.case import error_of
from backtester_model_core.testing.contract.contract import check, not_applicable


class ConfigurationChecks(AdapterChecks):
    """Checks of an adapter's configuration class."""

    @check
    def test_configuration_round_trips(self) -> None:
        """Look at fields whose JSON form does not validate again."""
        for config in self.configs():
            again = parse_config(type(config), config.model_dump(mode="json"))

            assert again == config

    @check
    def test_configuration_travels_to_a_worker(self) -> None:
        """Look at fields that hold what cannot be pickled, or do not compare equal afterwards."""
        for config in self.configs():
            twin = pickle.loads(pickle.dumps(config))  # noqa: S301 - our own bytes, as joblib sends them

            assert twin == config

    @check
    def test_unknown_key_is_refused(self) -> None:
        """Look at the configuration class: it must keep ``extra="forbid"``."""
        fields = {**self.fields()[0], "no_such_option": 1}
        error = error_of(lambda: load_config(fields))

        assert isinstance(error, ConfigError)
        assert "no_such_option" in str(error)

    @check
    def test_configuration_is_frozen(self) -> None:
        """Look at the configuration class: it must keep ``frozen=True``."""
        for config in self.configs():
            assert config.model_config.get("frozen") is True

    @check
    def test_infinite_numbers_are_refused(self) -> None:
        """Look at the configuration class: it must keep ``allow_inf_nan=False``."""
        for config in self.configs():
            assert config.model_config.get("allow_inf_nan") is False

    @check
    def test_every_field_is_described(self) -> None:
        """Look at fields without a ``Field(description=...)``: that is where options are documented."""
        fields = self.adapter.config_class.model_fields
        missing = [name for name, field in fields.items() if not (field.description or "").strip()]

        assert missing == []

    @check
    def test_every_field_is_read(self) -> None:
        """Look at fields of its own that no code of the package reads: an option without effect misleads."""
        config_class = self.adapter.config_class
        own = set(config_class.model_fields) - set(ModelConfig.model_fields)
        if not own:
            not_applicable("it has no field of its own")
        origins = {type(self.adapter).__module__, *(each.__module__ for each in config_class.__mro__)}
        files = {file for module in origins if module not in _NOT_OURS for file in _files_of(module)}

        assert sorted(own - {name for file in files for name in _names_read(file)}) == []

    @check
    def test_every_configuration_can_be_built(self) -> None:
        """Look at ``initialize_model``: it must build these configurations' models, and the default one's, if any."""
        fields = self.adapter.config_class.model_fields
        has_default = not any(field.is_required() for name, field in fields.items() if name != "framework")
        for config in [
            *self.configs(),
            *([load_config({"framework": self.framework})] if has_default else []),
        ]:
            self.looking_at(config.model_type)
            self.adapter.initialize_model(config)


_NOT_OURS = {"builtins", "typing", "abc", "pydantic.main", ModelConfig.__module__}


def _files_of(module: str) -> list[Path]:
    """Return the source files of the package that a module is in, or the module's own."""
    top = sys.modules[module.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", [])]
    if folders:
        return [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    file = getattr(sys.modules[module], "__file__", None)
    return [Path(file)] if file else []


@cache
def _names_read(file: Path) -> frozenset[str]:
    """Return the names that a source file reads as attributes, or by ``getattr``."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    attributes = {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    asked = {
        argument.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "getattr"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    return frozenset(attributes | asked)
