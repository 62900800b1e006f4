"""Configurations: described, bounded, frozen, read from files without running anything, and refused with a hint."""

import datetime as dt
import json
import pickle
import subprocess
import sys
import textwrap
import typing

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.config import (
    CalibrationConfig,
    CostsConfig,
    DataConfig,
    FeaturesConfig,
    GateConfig,
    LabelConfig,
    ModelConfig,
    MonitoringConfig,
    RetrainingConfig,
    SizingConfig,
    ThresholdsConfig,
    ValidationConfig,
    files,
    parse_config,
    read_config_file,
)
from backtester_model_core.exceptions import ConfigError

GROUPS = [
    ModelConfig,
    CalibrationConfig,
    CostsConfig,
    DataConfig,
    FeaturesConfig,
    GateConfig,
    LabelConfig,
    MonitoringConfig,
    RetrainingConfig,
    SizingConfig,
    ThresholdsConfig,
    ValidationConfig,
]

# -- what the tests share -------------------------------------------------------------------------------------------


def parsed(**fields):
    return parse_config(ModelConfig, {"framework": "any", **fields})


def faults(**fields):
    """The lines of the error that these fields end in, without its heading."""
    with pytest.raises(ConfigError) as caught:
        parsed(**fields)
    heading, *lines = str(caught.value).splitlines()
    assert heading == f"{len(lines)} fault{'s' if len(lines) != 1 else ''} in the ModelConfig:"
    return [line.removeprefix("  - ") for line in lines]


@pytest.fixture
def written(tmp_path):
    """Write a configuration file and return its path."""

    def write(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        return file

    return write


def in_a_process(code, *arguments, seconds=60):
    """Run code in a fresh interpreter with two gigabytes to live in, and return what it prints."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
    run = subprocess.run(
        [sys.executable, "-c", limited + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# -- documentation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_field_is_described(group):
    for name, field in group.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_group_is_frozen_and_closed(group):
    assert group.model_config["frozen"] is True
    assert group.model_config["extra"] == "forbid"


def test_every_group_of_the_configuration_is_looked_at_here():
    nested = {
        field.annotation
        for field in ModelConfig.model_fields.values()
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel)
    }

    assert nested == set(GROUPS) - {ModelConfig}


def numbers(schema):
    """Every place in a JSON schema at which a number may stand, with its path."""
    if isinstance(schema, dict):
        if schema.get("type") in {"number", "integer"}:
            yield schema
        for part in schema.values():
            yield from numbers(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from numbers(part)


def test_the_json_schema_bounds_every_number():
    schema = json.loads(json.dumps(ModelConfig.model_json_schema()))
    sizes = {"type": "integer"}  # train_size, test_size, every, max_age, expires_after: the bars bound them

    for number in numbers(schema):
        bounded = {"minimum", "exclusiveMinimum"} & set(number) and {"maximum", "exclusiveMaximum"} & set(
            number
        )
        assert bounded or number == sizes
    assert list(numbers(schema)).count(sizes) == 5
    assert schema["required"] == ["framework"]


# -- what is refused, with a hint -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"lookback": 5}, "lookback: unknown key. Did you mean 'lookback_period'?"),
        ({"costs": {"comission_bps": 1}}, "costs.comission_bps: unknown key. Did you mean 'commission_bps'?"),
        (
            {"label": {"horizonn": 1}},
            "label.horizonn: unknown key. Valid: ambiguous, band, band_unit, ",
        ),
        (
            {"validation": {"scheme": "roling"}},
            "'roling' is not valid. Did you mean 'rolling'? Valid: expanding, anc",
        ),
        ({"model_type": "zzz"}, "model_type: 'zzz' is not valid. Valid: classification, regression."),
        ({"gate": {"mode": 3}}, "gate.mode: 3 is not valid. Valid: off, warn, block."),
        ({"signal_threshold": 1.5}, "signal_threshold: input should be less than or equal to 1 (given 1.5)"),
        ({"signal_threshold": float("nan")}, "signal_threshold: "),
        (
            {"prediction_horizon": 0},
            "prediction_horizon: input should be greater than or equal to 1 (given 0)",
        ),
        ({"prediction_horizon": "one"}, "prediction_horizon: input should be a valid integer"),
        ({"model_name": "../up"}, "model_name: string should match pattern"),
        ({"costs": 3}, "costs: input should be a valid dictionary or instance of CostsConfig (given 3)"),
        (
            {"strong_threshold": 0.55},
            "the configuration: strong_threshold (0.55) is below confidence_threshold (0.6)",
        ),
        ({"label": {"entry": "close"}}, "label: entry = 'close' goes with exit = 'close'"),
        (
            {"data_config": {"start": "yesterday"}},
            "'yesterday' is not an ISO date or timestamp such as '2020-01-31'",
        ),
        ({"features": {"sets": ["x"] * 21}}, "features.sets: tuple should have at most 20 items"),
        ({1: 2}, "1: keys should be strings (given 1)"),
    ],
)
def test_a_fault_names_the_key_and_what_would_do(fields, line):
    with pytest.raises(ConfigError) as caught:
        parse_config(ModelConfig, {"framework": "any", **fields})

    assert line in str(caught.value)


def test_every_fault_is_named_at_once():
    assert faults(lookbak=5, cv_folds=1, gate={"mode": "blok"}) == [
        "cv_folds: input should be greater than or equal to 2 (given 1)",
        "gate.mode: 'blok' is not valid. Did you mean 'block'? Valid: off, warn, block.",
        "lookbak: unknown key. Did you mean 'lookback_period'?",
    ]


def test_of_many_faults_twenty_are_shown_and_all_counted():
    with pytest.raises(ConfigError) as caught:
        parsed(**{f"unknown_{number}": 1 for number in range(1030)})
    lines = str(caught.value).splitlines()

    assert lines[0] == "1030 faults in the ModelConfig:"
    assert len(lines) == 22
    assert lines[-1] == "  (and 1,010 more)"


def test_a_missing_framework_is_named():
    with pytest.raises(ConfigError, match="framework: required, but not given"):
        parse_config(ModelConfig, {})


@pytest.mark.parametrize("value", ["x" * 100_000, [["x"] * 1000] * 1000, [[[["x"]]]]])
def test_a_fault_shows_no_more_of_a_value_than_a_line(value):
    (line,) = faults(model_name=value)

    assert len(line) < 200


@pytest.mark.parametrize(
    "value", [True, 0, -3, 2.5, 3.0, [3], "63", "63 ", "1M", "1Y", "5d", "P1D", "-5D", "0D", "", "1B"]
)
def test_a_size_that_is_neither_a_count_nor_a_span_is_refused(value):
    (line,) = faults(validation={"test_size": value})

    assert line.startswith("validation.test_size: a ")


@pytest.mark.parametrize("value", [1, 63, "365D", "12h", "1.5h", "2W", "30min", "10 s"])
def test_a_size_is_a_count_or_a_span(value):
    assert parsed(validation={"train_size": value}).validation.train_size == value


@pytest.mark.parametrize("field", [("validation", "retrain_delay"), ("data_config", "frequency")])
@pytest.mark.parametrize("value", [3, "3", "1M", "soon", "0h"])
def test_a_span_without_a_unit_of_one_length_is_refused(field, value):
    group, name = field

    (line,) = faults(**{group: {name: value}})

    assert line.startswith(f"{group}.{name}: ")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_are_finite_in_an_adapters_own_fields_too(value):
    class OwnConfig(ModelConfig):
        strength: float = 1.0

    with pytest.raises(ConfigError, match="strength: input should be a finite number"):
        parse_config(OwnConfig, {"framework": "any", "strength": value})


def test_a_fault_in_a_list_of_groups_names_the_place():
    class Layer(pydantic.BaseModel, extra="forbid"):
        units: int = 1

    class OwnConfig(ModelConfig):
        layers: tuple[Layer, ...] = ()

    with pytest.raises(ConfigError, match=r"layers\.1\.unit: unknown key"):
        parse_config(OwnConfig, {"framework": "any", "layers": [{}, {"unit": 3}]})


# -- what is accepted -----------------------------------------------------------------------------------------------


def test_dates_of_toml_and_yaml_are_dates():
    noon = dt.datetime.fromisoformat("2021-01-31T16:00:00")
    config = parsed(data_config={"start": dt.date(2020, 1, 31), "end": noon})

    assert (config.data_config.start, config.data_config.end) == ("2020-01-31", "2021-01-31T16:00:00")


def test_names_in_force_follow_the_model_type():
    assert parsed().label_kind == "direction"
    assert parsed(model_type="regression").label_kind == "forward_return"
    assert parsed(label={"kind": "own"}).label_kind == "own"


def test_strong_is_a_quarter_of_the_way_to_certainty():
    assert parsed().strong_confidence == pytest.approx(0.6 + 0.4 / 4)
    assert parsed(confidence_threshold=1.0).strong_confidence == 1.0
    assert parsed(strong_threshold=0.65).strong_confidence == 0.65


def test_costs_one_way_are_the_sum_of_their_parts():
    assert CostsConfig(commission_bps=1, half_spread_bps=2, slippage_bps=4).one_way == pytest.approx(0.0007)


def test_a_configuration_cannot_be_changed():
    config = parsed()

    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.cv_folds = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.costs.borrow_rate = 0.1


def test_a_configuration_travels_to_a_worker_and_through_json():
    config = parsed(
        features={"sets": [], "expressions": {"r1": "close / ref(close, 1) - 1"}},
        validation={"train_size": "365D"},
        data_config={"symbols": ["A", "B"]},
    )

    assert pickle.loads(pickle.dumps(config)) == config
    assert parsed(**config.model_dump(mode="json")) == config
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


# -- files ----------------------------------------------------------------------------------------------------------

AS_TOML = """
    framework = "any"
    lookback_period = 10
    [label]
    exit = "close"
    [features.expressions]
    r1 = "close / ref(close, 1) - 1"
    [data_config]
    start = 2020-01-31
"""
AS_YAML = """
    framework: any
    lookback_period: 10
    label: {exit: close}
    features:
      expressions:
        r1: close / ref(close, 1) - 1
    data_config: {start: 2020-01-31}
"""
AS_JSON = """
    {"framework": "any", "lookback_period": 10, "label": {"exit": "close"},
     "features": {"expressions": {"r1": "close / ref(close, 1) - 1"}}, "data_config": {"start": "2020-01-31"}}
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.toml", AS_TOML), ("c.yaml", AS_YAML), ("c.YML", AS_YAML), ("c.json", AS_JSON)],
)
def test_the_same_configuration_in_each_format(written, name, content):
    expected = ModelConfig(
        framework="any",
        lookback_period=10,
        label={"exit": "close"},
        features={"expressions": {"r1": "close / ref(close, 1) - 1"}},
        data_config={"start": "2020-01-31"},
    )

    assert parse_config(ModelConfig, read_config_file(written(name, content))) == expected


def test_a_byte_order_mark_does_not_matter(written):
    assert read_config_file(written("c.toml", b"\xef\xbb\xbfframework = 'any'")) == {"framework": "any"}


def test_yaml_anchors_are_for_what_is_said_twice(written):
    content = """
        costs: &cheap {commission_bps: 0}
        others: {<<: *cheap, slippage_bps: 1}
    """

    assert read_config_file(written("c.yaml", content))["others"] == {"commission_bps": 0, "slippage_bps": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.ini", "", r"a configuration ends in \.toml, \.json, \.yaml or \.yml"),
        ("c.toml", "framework = ", "not valid TOML: "),
        ("c.toml", "a = 1\na = 2", "not valid TOML: "),
        ("c.toml", b"\xff\xfe", "not valid TOML: 'utf-8' codec"),
        ("c.json", "{", "not valid JSON: "),
        ("c.json", "[1, 2]", "the top level must be a table"),
        ("c.json", '{"a": NaN}', "not valid JSON: NaN is not a number"),
        ("c.json", '{"a": 1, "b": 2, "a": 3}', "not valid JSON: the key 'a' is given twice"),
        ("c.json", '{"a": {"b": 1, "b": 2}}', "the key 'b' is given twice"),
        ("c.yaml", "a: [1", "not valid YAML: "),
        ("c.yaml", "", "the top level must be a table"),
        ("c.yaml", "- a\n- b", "the top level must be a table"),
        ("c.yaml", "1: a", "the top level must be a table"),
        ("c.yaml", "a: 1\n---\nb: 2", "not valid YAML: expected a single document"),
        ("c.yaml", "a: {b: 1, b: 2}", "not valid YAML: the key 'b' is given twice"),
        ("c.yaml", "a: &a {b: *a}", "not valid YAML: an alias stands for something that holds it"),
        ("c.yaml", "a: !!timestamp soon", "not valid YAML: "),
        ("c.yaml", "a: !!bool perhaps", "not valid YAML: "),
        ("c.yaml", b"a: \x00", "not valid YAML: "),
        ("c.yaml", "a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("c.yaml", "a: !!python/object:builtins.object {}", "could not determine a constructor"),
        ("c.yaml", "a: !!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(written, name, content, message):
    file = written(name, content)

    with pytest.raises(ConfigError, match=message) as caught:
        read_config_file(file)

    assert str(caught.value).startswith(str(file))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"c\.toml: cannot be read \(No such file or directory\)\. Check the path"
    ):
        read_config_file(tmp_path / "c.toml")
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(ConfigError, match=r"d\.toml: cannot be read \(Is a directory\)"):
        read_config_file(tmp_path / "d.toml")


def test_a_file_that_is_too_large_is_refused(written):
    file = written("c.toml", b"#" * (files.MAX_CONFIG_BYTES + 1))

    with pytest.raises(ConfigError, match="too large; a configuration has at most 1,000,000 bytes"):
        read_config_file(file)


def test_a_file_of_just_that_size_is_read(written):
    content = b"framework = 'any'\n"

    assert read_config_file(written("c.toml", content + b"#" * (files.MAX_CONFIG_BYTES - len(content))))


def test_an_endless_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "c.json").symlink_to("/dev/zero")

    assert "too large" in in_a_process(
        """
        import sys
        from backtester_model_core.config import read_config_file
        try:
            read_config_file(sys.argv[1])
        except Exception as error:
            print(error)
        """,
        tmp_path / "c.json",
    )


def laughs(levels, line):
    """A small file whose aliases stand for ten to the power of its levels."""
    lines = ["a0: &a0 {b: 1, c: 2}" if "<<" in line else "a0: &a0 [x, x]"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(line.format(name=f"a{level}", aliases=aliases))
    return "\n".join(lines)


BOMBS = {
    "deep.json": "[" * 400_000,
    "deeper.json": '{"a":' * 150_000,
    "deep.toml": "a = " + "[" * 400_000,
    "dots.toml": "a." * 450_000 + "b = 1",
    "header.toml": "[" + "a." * 450_000 + "b]",
    "lines.toml": "\n".join(f"b{number}." + "a." * 900 + "b = 1" for number in range(500)),
    "separated.toml": "\n".join('"\u2028".' * 300 + f"b{number} = 1" for number in range(200)),
    "deep.yaml": "[" * 400_000,
    "deeper.yaml": "- " * 400_000,
    "laughs.yaml": laughs(30, "{name}: &{name} [{aliases}]"),
    "merges.yaml": laughs(30, "{name}: &{name} {{<<: [{aliases}]}}"),
    "digits.json": '{"a": ' + "1" * 900_000 + "}",
}


def test_no_small_file_takes_much_to_refuse(tmp_path):
    """Each is under a megabyte, and would take gigabytes or hours to read as it asks to be read."""
    for name, content in BOMBS.items():
        (tmp_path / name).write_text(content)

    printed = in_a_process(
        """
        import sys
        from pathlib import Path
        from backtester_model_core.config import read_config_file
        from backtester_model_core.exceptions import ConfigError
        for file in sorted(Path(sys.argv[1]).iterdir()):
            try:
                read_config_file(file)
            except ConfigError as error:
                print(file.name)
        """,
        tmp_path,
    )

    assert printed.split() == sorted(BOMBS)


def test_a_list_that_stands_for_too_much_is_refused_at_its_place_in_the_configuration(written):
    """A bomb small enough for the reader is still not printed whole by the error that refuses it."""
    file = written(
        "c.yaml", "framework: any\n" + laughs(4, "{name}: &{name} [{aliases}]") + "\nmodel_name: *a4"
    )

    with pytest.raises(ConfigError) as caught:
        parse_config(ModelConfig, read_config_file(file))

    assert "model_name: input should be a valid string" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_yaml_without_its_extra_names_the_extra(tmp_path):
    (tmp_path / "c.yaml").write_text("framework: any")

    printed = in_a_process(
        """
        import sys
        sys.modules["yaml"] = None
        from backtester_model_core.config import read_config_file
        from backtester_model_core.exceptions import MissingExtraError
        try:
            read_config_file(sys.argv[1])
        except MissingExtraError as error:
            print(isinstance(error, ImportError), error)
        """,
        tmp_path / "c.yaml",
    )

    assert printed == (
        "True Reading a YAML configuration needs an optional dependency. "
        "Try: pip install 'backtester-model-core[yaml]'\n"
    )


def test_reading_toml_and_json_needs_no_extra(tmp_path):
    (tmp_path / "c.toml").write_text('framework = "any"')

    printed = in_a_process(
        """
        import sys
        from backtester_model_core.config import read_config_file
        print(read_config_file(sys.argv[1]), "yaml" in sys.modules)
        """,
        tmp_path / "c.toml",
    )

    assert printed == "{'framework': 'any'} False\n"


@given(st.binary(max_size=60), st.sampled_from(["toml", "json", "yaml"]))
def test_any_bytes_are_a_table_or_a_refusal(tmp_path_factory, content, ending):
    file = tmp_path_factory.getbasetemp() / f"any.{ending}"
    file.write_bytes(content)

    try:
        values = read_config_file(file)
    except ConfigError:
        return

    assert isinstance(values, dict)


YAML_TEXT = st.text(alphabet="ab:{}[]&*!<>|-?,'\"% \n01.", max_size=40)


@given(YAML_TEXT)
def test_any_yaml_is_a_table_or_a_refusal(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(content)

    try:
        values = read_config_file(file)
    except ConfigError:
        return

    assert isinstance(values, dict)


def test_literal_values_are_words_without_commas():
    """The hint for a misspelt value reads the valid ones from pydantic's sentence."""
    for group in GROUPS:
        for field in group.model_fields.values():
            if typing.get_origin(field.annotation) is typing.Literal:
                assert all(value.replace("_", "").isalpha() for value in typing.get_args(field.annotation))
