"""Models by role and kind: those of the package, of installed packages, and classes of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.util.errors import UserError


class Shout(Model):
    """A model of somebody else's."""

    def __init__(self, mark: str = "!", times: int = 1):
        if times < 0:
            raise RuntimeError("cannot shout backwards")
        self.mark = mark * times

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            yield Reply(request.key, self.mark)


class Mute(Model):
    """A model without `stream`."""


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The objects that references lead to."""
    found: dict[str, Any] = {"mine:Shout": Shout}
    monkeypatch.setattr(registry, "_load_code", [found.__getitem__])
    return found


@pytest.mark.parametrize("role", registry.ROLES)
def test_every_role_has_a_model_that_needs_no_weights(role: str) -> None:
    model = registry.open_model(role, {"kind": registry.DEFAULT_MODELS[role]})
    assert isinstance(model, Model) and not model.fills_gpu


def test_a_class_of_ones_own_is_a_model_by_its_reference(loaded: dict[str, Any]) -> None:
    spec = {"kind": "mine:Shout", "mark": "?", "times": 2}
    model = registry.open_model("text", spec)
    assert isinstance(model, Shout) and model.mark == "??"
    assert not model.many_streams and not model.fills_gpu and model.close() is None
    assert registry.model_identity("text", spec) == {"kind": "mine:Shout", "mark": "?", "times": "2"}


def test_an_installed_package_offers_models_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("text.shout", f"{__name__}:Shout", group)])
    registry._installed.cache_clear()
    try:
        assert registry.model_class("text", {"kind": "shout"}).__name__ == "Shout"
        with pytest.raises(UserError, match="did you mean 'shout'"):
            registry.model_class("text", {"kind": "shuot"})
    finally:
        monkeypatch.undo()
        registry._installed.cache_clear()


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (Mute, r"stream\(self, requests\)"),
        (Shout(), "subclass of shardmill.models.contract.Model"),
        (dict, "subclass of shardmill.models.contract.Model"),
    ],
)
def test_what_is_not_a_model_is_refused(loaded: dict[str, Any], model: Any, fault: str) -> None:
    loaded["mine:X"] = model
    with pytest.raises(UserError, match=rf"mine:X.*{fault}"):
        registry.model_class("text", {"kind": "mine:X"})


def test_a_constructor_that_raises_is_named_with_its_file_and_line(loaded: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"RuntimeError: cannot shout backwards \({__file__}, line 21\)"):
        registry.open_model("text", {"kind": "mine:Shout", "times": -1})
    with pytest.raises(UserError, match=r"mine:Shout.*volume"):
        registry.open_model("text", {"kind": "mine:Shout", "volume": 11})


def test_settings_that_a_model_does_not_have_are_refused_before_it_is_loaded() -> None:
    for role, kind in registry.DEFAULT_MODELS.items():
        with pytest.raises(UserError, match="nonsense"):
            registry.model_identity(role, {"kind": kind, "nonsense": 1})
