"""Checks of the package that an adapter comes in: its entry point, its metadata, what importing it does."""

from __future__ import annotations

from backtester_model_core.adapter import ModelFrameworkAdapter, level_fault
from backtester_model_core.factory import load_config
from backtester_model_core.plugins.manager import IN_CODE
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks
from backtester_model_core.testing.contract.contract import check, not_applicable

CORE = "backtester-model-core"


class PackagingChecks(AdapterChecks):
    """Checks of the package that an adapter comes in."""

    @check
    def test_framework_is_listed(self) -> None:
        """Look at the entry point in pyproject.toml: its name is the framework's, and one distribution claims it."""
        info = self.info

        assert info.is_usable, f"{info.state}: {info.reason}"

    @check
    def test_entry_point_and_framework_name_agree(self) -> None:
        """Look at the ``framework`` field of the configuration class: it takes, and has, the entry point's name."""
        config_class = self.adapter.config_class
        default = config_class.model_fields["framework"].get_default()
        config = load_config({"framework": self.framework})

        assert config.framework == self.framework
        assert default in {self.framework, None} or config_class.model_fields["framework"].is_required()

    @check
    def test_adapter_speaks_this_interface(self) -> None:
        """Look at the adapter's ``api`` and at the methods that it fills in."""
        assert isinstance(self.adapter, ModelFrameworkAdapter)
        assert level_fault(self.adapter.api) is None

    @check
    def test_listing_imports_nothing(self) -> None:
        """Look at an extension of the same distribution that imports the adapter: listing loads extensions."""
        self._require_entry_point()

        assert self.elsewhere().listed == []

    @check
    def test_import_leaves_global_randomness_alone(self) -> None:
        """Look at ``random.seed`` and ``np.random.seed`` at import: use a generator of your own."""
        changed = self._changed_by_import("random")

        assert not changed, "; ".join(changed)

    @check
    def test_import_leaves_logging_alone(self) -> None:
        """Look at ``logging.basicConfig``, levels and handlers of the root logger: they belong to the program."""
        changed = self._changed_by_import("logging")

        assert not changed, "; ".join(changed)

    @check
    def test_import_leaves_warnings_alone(self) -> None:
        """Look at ``warnings.filterwarnings`` at import, of the framework's too: filter inside ``catch_warnings``."""
        changed = self._changed_by_import("warnings")

        assert not changed, "; ".join(changed)

    @check
    def test_import_leaves_the_environment_alone(self) -> None:
        """Look at ``os.environ``, ``os.chdir``, ``sys.path`` and ``sys.excepthook`` at import."""
        changed = self._changed_by_import("environment")

        assert not changed, "; ".join(changed)

    @check
    def test_import_starts_no_thread(self) -> None:
        """Look at pools and timers made at import: make them when they are first needed."""
        changed = self._changed_by_import("threads")

        assert not changed, "; ".join(changed)

    @check
    def test_import_prints_nothing(self) -> None:
        """Look at ``print`` and warnings at import: a command's output is read by programs."""
        changed = self._changed_by_import("output")

        assert not changed, "; ".join(changed)

    @check
    def test_package_states_its_licence(self) -> None:
        """Look at ``license`` in pyproject.toml."""
        metadata = self.installed().metadata
        stated = [
            *(metadata.get_all("License-Expression") or []),
            *(metadata.get_all("License") or []),
            *(each for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")),
        ]

        assert any(each.strip() for each in stated)

    @check
    def test_package_describes_itself(self) -> None:
        """Look at ``version``, ``description`` and ``requires-python`` in pyproject.toml."""
        metadata = self.installed().metadata
        wanted = ("Version", "Summary", "Requires-Python")
        missing = [name for name in wanted if not any(metadata.get_all(name) or [])]

        assert missing == []

    @check
    def test_package_needs_a_range_of_the_core(self) -> None:
        """Look at ``dependencies`` in pyproject.toml: a range such as ``>=0.1,<0.2``, never a pin."""
        needs = [need.partition(";")[0].replace(" ", "") for need in self.installed().requires or []]
        own = [need for need in needs if need.lower().replace("_", "-").startswith(CORE)]

        assert own, f"it does not depend on {CORE}"
        assert all(">=" in need and "<" in need and "==" not in need for need in own), own

    def _require_entry_point(self) -> None:
        if self.info.distribution == IN_CODE:
            not_applicable("it was registered in code, so no entry point is imported")

    def _changed_by_import(self, kind: str) -> list[str]:
        self._require_entry_point()
        changes = self.elsewhere().imported
        assert changes is not None, f"another process does not list {self.framework!r}"
        return changes.get(kind, [])
