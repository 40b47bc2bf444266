"""A lexicon of the user's own adds objects to the bundled one or replaces it, and a run keeps it in its plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.language.lexicon import lexicon
from shardmill.language.named_objects import named_objects
from shardmill.language.own_lexicon import use_own_lexicon
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.texts import use_texts


@pytest.fixture(autouse=True)
def bundled_again() -> Iterator[None]:
    yield
    use_texts({})
    use_own_lexicon(None)


def own(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_its_objects_are_added_and_those_of_known_names_replaced(tmp_path: Path) -> None:
    bundled = len(lexicon().entries)
    use_own_lexicon(own(tmp_path, "name,synonyms,category", "zorble,glim zorble|zorb,tool", "dog,,robot"))
    known = lexicon()
    assert len(known.entries) == bundled + 1
    assert (known.entries["zorble"].plural, known.entries["zorble"].number) == ("zorbles", "count")
    assert known.exact("two glim zorbles") is known.exact("zorbs") is known.entries["zorble"]
    assert known.entries["dog"].category == "robot"
    assert [entry.name for entry in named_objects("A zorble lies beside a cat.")] == ["zorble", "cat"]
    use_own_lexicon(None)
    assert lexicon().exact("zorble") is None and len(lexicon().entries) == bundled


def test_a_first_row_with_a_star_leaves_out_all_that_is_bundled(tmp_path: Path) -> None:
    use_own_lexicon(own(tmp_path, "name", "*", "zorble"))
    assert list(lexicon().entries) == ["zorble"]
    assert [entry.name for entry in named_objects("A zorble lies beside a cat.")] == ["zorble"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["object,plural", "a,b"], "has no column 'name'"),
        (["name,plurals", "a,b"], "has a column 'plurals'.*plural"),
        (["name,number", "a,many"], "line 2: the number is 'many'"),
        (["name,plural", "a,b", ",c"], "line 3: a name is missing"),
        (["name", "a,b"], "line 2: there are too many cells"),
        (["name,plural"], "has no rows"),
        ([], "has no rows"),
    ],
)
def test_what_is_no_lexicon_is_refused_by_line(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mine.csv.*{said}"):
        use_own_lexicon(own(tmp_path, *lines))
    with pytest.raises(UserError, match="cannot be read"):
        use_own_lexicon(tmp_path / "gone.csv")


def objects(run: RunFolder) -> list[str]:
    run_shard(RunFolder(run.path), "extract_objects", 0)
    part = RunFolder(run.path).read_part("extract_objects", 0)[0]
    return part.select(pl.col("objects").str.json_decode(pl.List(pl.String)).explode()).to_series().to_list()


def test_a_run_keeps_it_and_other_runs_go_without(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("caption\nA zorble lies beside a cat on the lawn.\n")
    new = NewRun(input=tmp_path / "t.csv", num_shards=1)
    path = own(tmp_path, "name", "zorble")
    use_own_lexicon(path)
    with_it = start_run(tmp_path / "with", new)
    use_own_lexicon(None)
    path.unlink()
    without = start_run(tmp_path / "without", new)
    assert "zorble" in objects(with_it)
    assert "lexicon" not in without.fingerprint("extract_objects") and "lexicon" in with_it.fingerprint("extract_objects")
    objects(without)
    assert lexicon().exact("zorble") is None
    use_own_lexicon(own(tmp_path, "name", "frobnik"))
    with pytest.raises(UserError, match="a run keeps its lexicon"):
        start_run(tmp_path / "without", new)
    use_own_lexicon(None)
    start_run(tmp_path / "with", new)  # the same command without the file: the run goes on with what it keeps
    assert lexicon().exact("zorble") is not None
