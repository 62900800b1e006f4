"""The contract that every adapter keeps: inherit :class:`AdapterContract`, name the framework, run pytest."""

from __future__ import annotations

from typing import Any, ClassVar

from backtester_model_core.testing.contract.capabilities import CapabilityChecks
from backtester_model_core.testing.contract.clock import ClockChecks
from backtester_model_core.testing.contract.configuration import ConfigurationChecks
from backtester_model_core.testing.contract.contract import check_contract, declared
from backtester_model_core.testing.contract.forecasts import ForecastChecks
from backtester_model_core.testing.contract.inputs import InputChecks
from backtester_model_core.testing.contract.outcomes import ContractReport
from backtester_model_core.testing.contract.packaging import PackagingChecks
from backtester_model_core.testing.contract.processes import ProcessChecks
from backtester_model_core.testing.contract.repetition import RepetitionChecks
from backtester_model_core.testing.contract.saving import SavingChecks
from backtester_model_core.testing.contract.skill import SkillChecks
from backtester_model_core.testing.contract.training import TrainingChecks


class ModelContract(
    # the last of these runs first
    SkillChecks,
    ClockChecks,
    CapabilityChecks,
    SavingChecks,
    RepetitionChecks,
    TrainingChecks,
    ForecastChecks,
    InputChecks,
):
    """The checks of an adapter that concern its models, for further configurations of one that is certified already.

    What :class:`AdapterContract` checks beside these, its package and what models do in other processes, is the
    same for every configuration, or takes too long to ask for each.
    """

    n_checks: ClassVar[int] = 76


class AdapterContract(ProcessChecks, ModelContract, ConfigurationChecks, PackagingChecks):
    """Checks that an adapter keeps its promises; each check's docstring says what to look at when it fails.

    What the adapter can do beside training and forecasting is found from the methods that it fills in; what cannot
    be found is declared here.

    Attributes:
        framework: The framework's name.
        classification: Fields of a classifier's configuration, beside ``framework``; ``None`` where the
            framework has none.
        regression: Fields of a regression's configuration, beside ``framework``; ``None`` where it has none.
        learns: Whether the configured models can learn a linear rule from 400 rows.
        random: Whether a training with another seed gives another model.
    """

    n_checks: ClassVar[int] = 105


def check_adapter(framework: str, **attributes: Any) -> ContractReport:
    """Run the adapter contract without pytest.

    Args:
        framework: The framework's name.
        attributes: Of :class:`AdapterContract`, such as ``classification`` or ``expected_failures``.

    Raises:
        ConfigError: When the contract has no attribute of a name, or no check that is expected to fail.
    """
    return check_contract(declared(AdapterContract, {"framework": framework, **attributes}))
