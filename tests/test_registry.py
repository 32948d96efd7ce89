"""The registry: entering, listing, and unknown names."""

import pytest

from spikeloom.errors import SpikeloomError, UnknownNameError
from spikeloom.registry import Registry


@pytest.fixture
def fruit():
    registry = Registry("fruit")
    for name in ("pear", "apple", "apple-red", "Quince"):
        registry.register(name)(name.upper())
    return registry


def test_an_entry_is_found_again_and_the_decorator_returns_it():
    registry = Registry("function")

    @registry.register("double")
    def double(x):
        return 2 * x

    assert double(2) == 4
    assert registry["double"] is double
    assert "double" in registry
    assert "triple" not in registry


def test_names_are_sorted_and_filtered(fruit):
    assert fruit.names() == ["Quince", "apple", "apple-red", "pear"]
    assert list(fruit) == fruit.names()
    assert fruit.names("apple*") == ["apple", "apple-red"]
    assert fruit.names("?ear") == ["pear"]
    assert fruit.names("nothing") == []


def test_patterns_are_case_sensitive(fruit):
    assert fruit.names("q*") == []


def test_a_name_may_be_entered_once(fruit):
    with pytest.raises(ValueError, match="fruit 'pear' is registered twice"):
        fruit.register("pear")(None)
    assert fruit["pear"] == "PEAR"


def test_an_unknown_name_is_answered_with_close_ones(fruit):
    with pytest.raises(UnknownNameError, match=r"There is no fruit 'peer'\. Did you mean 'pear'\?"):
        fruit["peer"]


def test_a_name_like_none_is_answered_with_all(fruit):
    with pytest.raises(UnknownNameError, match=r"Known: Quince, apple, apple-red, pear\."):
        fruit["xxxxxxxx"]


def test_an_empty_registry_says_so():
    with pytest.raises(UnknownNameError, match=r"There is no model 'x'\. Known: none\."):
        Registry("model")["x"]


def test_an_unknown_name_is_a_key_error_and_ours(fruit):
    with pytest.raises(KeyError):
        fruit["xxxxxxxx"]
    with pytest.raises(SpikeloomError):
        fruit["xxxxxxxx"]


def test_registries_do_not_share_entries(fruit):
    assert Registry("fruit").names() == []
    assert len(fruit.names()) == 4
