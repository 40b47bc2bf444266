"""The texts that shape the rows of a run: prompts, wordings, words, patterns.

They are kept in the run's plan and read from there while the run goes on, so that an edit of a file counts for the next run only.
`use_texts` says which run this process works for; a process works for one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

Value = TypeVar("Value")

LEXICON = "lexicon"
"""The name of the user's own lexicon among the texts of a run: it is no path, since any file may be given."""

_kept: dict[str, str] = {}
_recorders: list[dict[str, str]] = []
_caches: list[Callable[[], None]] = []
_watchers: dict[str, Callable[[], None]] = {}


def text_of(name: str, read: Callable[[], str]) -> str:
    """The text that the run in use keeps under a name; else what `read` returns."""
    text = _kept[name] if name in _kept else read()
    for recorder in _recorders:
        recorder[name] = text
    return text


def has_text(name: str) -> bool:
    """Whether the run in use keeps a text of that name."""
    return name in _kept


def when_changed(name: str, act: Callable[[], None]) -> None:
    """Call this whenever another run comes into use that keeps another text of that name."""
    _watchers[name] = act


def use_texts(kept: Mapping[str, str]) -> None:
    """Read these texts instead of the files of their names, which for resources are paths such as `templates/x.md`."""
    if kept != _kept:
        changed = [act for name, act in _watchers.items() if kept.get(name) != _kept.get(name)]
        _kept.clear()
        _kept.update(kept)
        _forget()
        for act in changed:
            act()


@contextmanager
def recorded_texts() -> Iterator[dict[str, str]]:
    """All texts that are read until the block ends, by name."""
    recorder: dict[str, str] = {}
    _forget()  # or what is cached would not be read
    _recorders.append(recorder)
    try:
        yield recorder
    finally:
        _recorders.remove(recorder)


def cached(function: Callable[..., Value]) -> _lru_cache_wrapper[Value]:
    """Decorator for a function of texts: results are cached until other texts are in use."""
    wrapper = cache(function)
    _caches.append(wrapper.cache_clear)
    return wrapper


def _forget() -> None:
    for clear in _caches:
        clear()
