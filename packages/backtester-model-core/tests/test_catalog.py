"""Catalogs: names for things, each with who added it."""

import pytest

from backtester_model_core.catalog import CORE, Catalog, registering
from backtester_model_core.exceptions import ConfigError, DuplicatePluginError


def test_a_thing_is_found_by_its_name_with_who_added_it():
    colours: Catalog[str] = Catalog("colour")
    colours.add("sky", "blue")
    colours.add("grass", "green", source="garden")

    assert colours["sky"] == "blue"
    assert colours.source("sky") == CORE
    assert colours.source("grass") == "garden"


def test_a_catalog_is_walked_in_the_order_of_adding():
    colours: Catalog[str] = Catalog("colour")
    colours.add("sky", "blue")
    colours.add("grass", "green")

    assert list(colours) == ["sky", "grass"]
    assert len(colours) == 2
    assert "sky" in colours
    assert "sea" not in colours


def test_an_unknown_name_answers_with_the_kind_and_the_nearest_name():
    colours: Catalog[str] = Catalog("colour")
    colours.add("grass", "green")

    with pytest.raises(ConfigError, match=r"^Unknown colour 'gras'\. Did you mean 'grass'\?$"):
        colours["gras"]


def test_an_empty_catalog_says_that_there_is_nothing():
    with pytest.raises(ConfigError, match=r"^Unknown colour 'sky'\. There is none\.$"):
        Catalog("colour")["sky"]


def test_adding_the_same_thing_again_changes_nothing():
    colours: Catalog[str] = Catalog("colour")

    assert colours.add("sky", "blue", source="first") is True
    assert colours.add("sky", "blue", source="second") is False
    assert len(colours) == 1
    assert colours.source("sky") == "first"


def test_another_thing_under_a_taken_name_names_both_claims():
    colours: Catalog[str] = Catalog("colour")
    colours.add("sky", "blue", source="day")

    with pytest.raises(DuplicatePluginError, match=r"'sky' is claimed by day and night"):
        colours.add("sky", "black", source="night")

    assert colours["sky"] == "blue"
    assert colours.source("sky") == "day"


def test_a_discarded_name_is_free_again():
    colours: Catalog[str] = Catalog("colour")
    colours.add("sky", "blue")
    colours.discard("sky")
    colours.discard("sky")
    colours.add("sky", "black", source="night")

    assert colours["sky"] == "black"
    assert colours.source("sky") == "night"


def test_who_brings_names_late_is_asked_before_a_name_is_unknown(monkeypatch):
    colours: Catalog[str] = Catalog("colour")
    monkeypatch.setattr(Catalog, "late", lambda: colours.add("sky", "blue"))

    assert colours["sky"] == "blue"
    assert "grass" not in colours


def test_names_that_are_there_wait_for_nobody(monkeypatch):
    colours: Catalog[str] = Catalog("colour")
    colours.add("sky", "blue")
    monkeypatch.setattr(Catalog, "late", lambda: pytest.fail("asked for a name that is there"))

    assert colours["sky"] == "blue"
    assert "sky" in colours


def test_a_catalog_alone_needs_nobody(monkeypatch):
    monkeypatch.setattr(Catalog, "late", None)

    with pytest.raises(ConfigError, match="Unknown colour"):
        Catalog("colour")["sky"]


def test_a_decorator_adds_what_it_stands_before_and_says_where_it_is_from():
    losses = Catalog("loss")

    @registering(losses, "lopsided")
    def lopsided(output, target):
        return output - target

    assert losses["lopsided"] is lopsided
    assert losses.source("lopsided").endswith(f"{lopsided.__module__}:{lopsided.__qualname__}")


def test_a_decorator_refuses_a_name_that_is_taken():
    losses = Catalog("loss")
    registering(losses, "lopsided")(min)

    with pytest.raises(DuplicatePluginError, match="'lopsided' is claimed by builtins:min and builtins:max"):
        registering(losses, "lopsided")(max)
