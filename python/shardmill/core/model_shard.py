"""The rows of one shard of a model stage: ask, judge, ask again, and journal each row when it is finished."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.first_rejects import FirstRejects
from shardmill.core.in_flight import InFlightRequest, Pending, origin_of, usage_of
from shardmill.core.permissions import check_model
from shardmill.core.prompts import Prompt
from shardmill.core.seeding import rng_of, seed_of
from shardmill.core.stage import Answer, FollowUp, ModelCall, ModelStage, Reject
from shardmill.models.contract import CaptionRequest, Model, Reply, TextRequest
from shardmill.models.registry import loaded_commits, open_model
from shardmill.store.cells import Kind, check_cells, decode
from shardmill.store.journal import Journal, JournalHeader, JournalReader, JournalRecord, read_header, read_kept
from shardmill.store.leases import Leases, ShardBusy, blocks
from shardmill.store.shard import Shard
from shardmill.store.spending import Meter
from shardmill.util.errors import Stopped, UserError
from shardmill.util.progress import Progress
from shardmill.util.signals import stopping_when

log = logging.getLogger("shardmill")

SUSPICIOUS_ROWS = 20
"""When the stage itself raises on this many rows from the start, it is the stage that is broken, not the rows."""
STAGE_ERROR = "stage error"
TRUNCATED = "cut by the token limit"
MAX_CALLS = 1_000
"""A row that needs more calls than this would probably never end."""
DRAIN_SECONDS = 10.0
"""How long a worker that is to stop goes on taking replies that are ready. One is paid for and may be the last of its row."""
SECOND_TEMPERATURE = 0.7
"""A retry of a call at temperature 0 uses this one: otherwise the answer would be the same."""


Report = Callable[[Progress], None]
ModelPool = dict[str, Model]


def pool_key(role: str, spec: Mapping[str, Any]) -> str:
    """The name of a loaded model in a `ModelPool`: stages that use the same model share it."""
    return f"{role} {sorted(spec.items())}"


class ModelShard:
    """The rows of one shard of a model stage that are not finished yet."""

    def __init__(self, shard: Shard, stage: ModelStage, table: pl.DataFrame, attempt: str, leases: Leases | None = None):
        self.stage, self.table, self.leases = stage, table, leases
        self.seed, self.planned, self.files = shard.run.plan.seed, shard.planned, shard.files
        self.kinds: dict[str, Kind] = shard.kinds
        self.key_columns = [name for name in ("row_id", "sub_id") if name in table.columns]
        journals = self._earlier = self.files.journals()
        self.keys = set(table.select(self.key_columns).iter_rows())
        self.done: set[tuple[int, ...]] = set()
        self.reader = JournalReader(shard.digests)
        self.kept = read_kept(journals, shard.digests) if stage.extendable else {}
        self.round = max((header.round for path in journals if (header := read_header(path))), default=0)
        self.work_folder = shard.run.path / "jobs" / "models"
        self.meter = Meter(shard.run, shard.planned)
        self.own_journal = self.files.journal(attempt)
        self.journal = Journal(self.own_journal, JournalHeader(shard.digest, self.round))
        self.in_flight: dict[str, InFlightRequest] = {}
        self.shared: dict[str, Answer] = {}
        self.again: deque[str] = deque()
        self.rejected = 0
        self.own_rows = 0
        self.errors: list[tuple[tuple[int, ...], Exception]] = []
        self.trusted = False
        self.commits: dict[str, str] = {}
        self.loading = 0.0
        self.over_budget = False
        self.first_rejects = FirstRejects(shard, self.planned.stop_after)

    def finish_rows(
        self,
        models: ModelPool,
        report: Report,
        should_stop: Callable[[], bool],
        all_requested: Callable[[], None] = lambda: None,
    ) -> None:
        """Finish every row into the journal. The model is loaded only if a row needs a call.

        With leases, only rows that no other worker has leased; raises ShardBusy if some of those are left then. Raises
        BudgetSpent if rows are left that the budget of the run does not cover; all that were begun are finished then.
        """
        self._add_finished(self._earlier)
        resumed, total = len(self.done), self.table.height

        def note_progress() -> None:
            report(Progress(len(self.done), total, resumed, self.rejected))

        rows = self._unfinished_rows()
        with closing(self.journal), closing(self.meter), stopping_when(should_stop):
            requests = self._requests(rows, should_stop)
            while (first := next(requests, None)) is not None:
                model = self._model(models)
                if model.many_streams:
                    requests = _then(requests, all_requested)
                self._take_replies(model.stream(_chain(first, requests)), should_stop, note_progress)
                requests = self._requests(rows, should_stop)
            if should_stop() and len(self.done) < total:
                raise Stopped(f"{len(self.done):,} of {total:,} rows are in the journal")
            if self.in_flight:
                raise UserError(
                    f"the model gave no reply to {len(self.in_flight)} requests, such as {next(iter(self.in_flight))}"
                )
            self._reject_errors()
            note_progress()
        if len(self.done) < total:
            self._read_others()
        if len(self.done) < total:
            if not self.own_rows:
                self.own_journal.unlink(missing_ok=True)
            if self.over_budget:
                raise self.meter.budget_spent()
            raise ShardBusy(f"{total - len(self.done):,} of {total:,} rows are leased by other workers")

    def _read_others(self) -> None:
        """Add the rows that other attempts have finished by now."""
        self._add_finished([path for path in self.files.journals() if path != self.own_journal])

    def _add_finished(self, journals: list[Path]) -> None:
        self.done.update(key for key in self.reader.new_keys(journals) if key in self.keys)

    def _model(self, models: ModelPool) -> Model:
        assert self.stage.role is not None
        name = pool_key(self.stage.role, self.planned.model)
        if name not in models:
            for other in [other for other, model in models.items() if model.fills_gpu]:
                models.pop(other).close()
            check_model(self.stage.name, self.planned.model)
            began = time.monotonic()
            models[name] = open_model(self.stage.role, self.planned.model)
            self.loading += time.monotonic() - began
        models[name].work_folder = self.work_folder
        self.commits = loaded_commits(self.stage.role, self.planned.model)
        return models[name]

    def _requests(self, rows: Iterator[dict[str, Any]], should_stop: Callable[[], bool]) -> Iterator[Any]:
        """Requests for the model: retries first, then the calls of the next row, as long as the budget covers it.

        What the rows in progress cost less than expected pays for further rows: then there are requests again later.
        """
        while not should_stop():
            while self.again:
                yield self._request(self.again.popleft())
            if not self.meter.may_begin_row():
                self.over_budget = not self.meter.in_progress
                return
            row = next(rows, None)
            if row is None:
                return
            for key in self._open_row(row):
                yield self._request(key)

    def _unfinished_rows(self) -> Iterator[dict[str, Any]]:
        names = [*self.key_columns, *(name for name in self.stage.reads if name not in self.key_columns)]
        for piece in self._pieces(self.table.select(names)):
            for row in piece.iter_rows(named=True):
                if self._key(row) not in self.done:
                    yield row

    def _key(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        return tuple(row[name] for name in self.key_columns)

    def _pieces(self, table: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The blocks that this worker could lease; one that joins others starts from the other end."""
        if self.leases is None:
            yield table
            return
        order = list(enumerate(blocks(table.height)))
        if self.leases.others():
            order.reverse()
        for block, (start, end) in order:
            piece = table.slice(start, end - start)
            if any(self._key(row) not in self.done for row in piece.iter_rows(named=True)) and self.leases.take(block):
                if self.leases.was_taken_over(block):
                    self._read_others()
                yield piece

    def _open_row(self, row: dict[str, Any]) -> list[str]:
        """Make the calls that a row needs; returns the keys of new requests. A row without calls is finished at once."""
        key = self._key(row)
        try:
            decoded = {name: decode(value, self.kinds[name]) for name, value in row.items()}
        except ValueError as error:
            self._finish(key, Reject("unreadable cell", str(error)))
            return []
        try:
            calls = self.stage.ask(decoded, rng_of(self.seed, self.stage.seed_label, *key, self.round))
            answers: list[Answer | None] = [None] * len(calls)
            if key in self.kept:
                answers = self.stage.reuse(calls, self.kept[key])
        except Exception as error:  # noqa: BLE001 (a stage of the user's may raise anything)
            self._note_error(key, error)
            return []
        pending = Pending(key, decoded, answers, answers.count(None))
        opened = []
        for index, call in enumerate(calls):
            if answers[index] is not None:
                continue
            origin = self._start_call(pending, index, call)
            if origin is not None:
                opened.append(origin)
        self.meter.begin_row()
        if pending.missing == 0:
            self._close_row(pending)
        return opened

    def _start_call(self, pending: Pending, index: int, call: ModelCall) -> str | None:
        """Make a call, or attach it to an equal one that is in flight or answered; returns the key of a new request."""
        if call.share is not None and call.share in self.shared:
            pending.answers[index] = self.shared[call.share]
            pending.missing -= 1
            return None
        origin = origin_of(pending.key, index, call)
        in_flight = self.in_flight.get(origin)
        if in_flight is not None:
            in_flight.waiting.append((pending, index))
            return None
        self.in_flight[origin] = InFlightRequest(call, origin, waiting=[(pending, index)])
        return origin

    def _request(self, origin: str) -> Any:
        in_flight = self.in_flight[origin]
        seed = self._seed(in_flight)
        asked = in_flight.call.shorter if in_flight.shortened and in_flight.call.shorter else in_flight.call.request
        request = replace(asked, key=origin, seed=seed)
        if in_flight.attempt > 1 and isinstance(request, (TextRequest, CaptionRequest)) and request.sampling.temperature == 0:
            return replace(request, sampling=replace(request.sampling, temperature=SECOND_TEMPERATURE))
        return request

    def _seed(self, in_flight: InFlightRequest) -> int:
        """The seed of an attempt. The attempts take the sets of examples of their prompt in turn, from a drawn one on."""
        drawn = partial(seed_of, self.seed, self.stage.seed_label, in_flight.origin, self.round)
        seed, chat = drawn(in_flight.attempt), getattr(in_flight.call.request, "chat", None)
        if not isinstance(chat, Prompt):
            return seed
        wanted = chat.bundle(drawn(1)) + in_flight.attempt - 1
        return seed + (wanted - chat.bundle(seed)) % len(chat.template.prefixes)

    def _take_replies(self, replies: Iterable[Reply], should_stop: Callable[[], bool], note_progress: Callable[[], None]) -> None:
        """Take all replies; once the worker is to stop, those that the model still hands out within DRAIN_SECONDS."""
        deadline = math.inf
        for reply in replies:
            self._take(reply)
            note_progress()
            if should_stop():
                deadline = min(deadline, time.monotonic() + DRAIN_SECONDS)
                if time.monotonic() >= deadline:
                    return

    def _take(self, reply: Reply) -> None:
        """Judge a reply: retry with a new seed while attempts are left, else give the answer to the rows that wait for it."""
        in_flight = self.in_flight.get(reply.key)
        if in_flight is None:
            raise UserError(f"the model gave a reply to {reply.key!r} that was answered already or never sent")
        cost = usage_of(reply, in_flight.attempt)
        in_flight.usage.update(cost)
        self.meter.pay(cost)
        answer = self._judge(in_flight, reply)
        may_retry = reply.finish != "unusable" and not in_flight.is_given_up and in_flight.attempt < self.planned.attempts
        if answer.problem is not None and may_retry:
            in_flight.attempt += 1
            self.again.append(reply.key)
            return
        del self.in_flight[reply.key]
        if in_flight.call.share is not None:
            self.shared[in_flight.call.share] = answer
        in_flight.waiting[0][0].usage.update(in_flight.usage)
        for pending, index in in_flight.waiting:
            pending.answers[index] = answer
            pending.missing -= 1
            if pending.missing == 0:
                self._close_row(pending)

    def _judge(self, in_flight: InFlightRequest, reply: Reply) -> Answer:
        call = in_flight.call
        failed = Answer(
            call,
            problem=reply.problem or "model error",
            detail=reply.detail,
            raw=self.stage.raw(reply),
            attempts=in_flight.attempt,
            finish=reply.finish,
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
        )
        if reply.finish in ("error", "unusable"):
            return failed
        if reply.finish == "length":
            if call.shorter is not None and not in_flight.shortened and in_flight.attempt < self.planned.attempts:
                in_flight.shortened = True
                return replace(failed, problem=TRUNCATED)
            usable = call.whole(str(reply.result)) if call.whole else None
            if usable is None:
                return replace(failed, problem=TRUNCATED)
            reply = replace(reply, result=usable)
        try:
            value = (call.parse or self.stage.parse)(reply)
        except ValueError as error:
            return replace(failed, problem="malformed answer", detail=str(error))
        try:
            problem = call.check(value) if call.check else None
        except Exception as error:
            log.exception("stage %s failed on the answer to %s", self.stage.name, in_flight.origin)
            return replace(failed, problem=STAGE_ERROR, detail=f"{type(error).__name__}: {error}")
        in_flight.refused += problem is not None
        return replace(failed, value=value, problem=problem, detail="")

    def _close_row(self, pending: Pending) -> None:
        answers = [answer for answer in pending.answers if answer is not None]
        problems = [answer for answer in answers if answer.problem is not None]
        if answers and len(problems) == len(answers) and not self.stage.tolerant:
            first = problems[0]
            self.meter.finish_row()
            self._finish(pending.key, Reject(first.problem or "", first.detail), first.raw, first.attempts, pending.usage)
            return
        try:
            outcome = self.stage.accept(pending.row, answers)
            if isinstance(outcome, FollowUp):
                self._follow_up(pending, outcome.calls)
                return
            for values in [] if isinstance(outcome, Reject) else _rows(outcome):
                check_cells(values, self.planned.adds)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 (as above)
            self.meter.finish_row()
            self._note_error(pending.key, error)
            return
        self.meter.finish_row()
        raw = "\n".join(answer.raw for answer in answers if answer.raw)
        self._finish(pending.key, outcome, raw, max((answer.attempts for answer in answers), default=0), pending.usage)

    def _follow_up(self, pending: Pending, calls: list[ModelCall]) -> None:
        """Make the further calls of a row; it is closed again when they are answered."""
        first = len(pending.answers)
        if not calls or first + len(calls) > MAX_CALLS:
            raise ValueError(f"{len(calls)} further calls after {first}: not between 1 and {MAX_CALLS} in all")
        pending.answers += [None] * len(calls)
        pending.missing += len(calls)
        for index, call in enumerate(calls, first):
            origin = self._start_call(pending, index, call)
            if origin is not None:
                self.again.append(origin)
        if pending.missing == 0:
            self._close_row(pending)

    def _note_error(self, key: tuple[int, ...], error: Exception) -> None:
        """A row made the stage raise: reject that row, but stop when it is every row.

        Until some row is finished in the usual way, the errors are kept back: those of a broken stage must not be in the journal
        when the stage is fixed.
        """
        log.error("stage %s failed on row %s", self.stage.name, key, exc_info=error)
        self.errors.append((key, error))
        if self.trusted:
            self._reject_errors()
        elif len(self.errors) >= SUSPICIOUS_ROWS:
            raise UserError(
                f"stage {self.stage.name} failed on each of the first {len(self.errors)} rows: {type(error).__name__}: {error}"
            ) from error

    def _reject_errors(self) -> None:
        errors, self.errors = self.errors, []
        for key, error in errors:
            self._record(key, Reject(STAGE_ERROR, f"{type(error).__name__}: {error}"))

    def _finish(
        self, key: tuple[int, ...], outcome: Any, raw: str = "", attempts: int = 0, usage: Mapping[str, float] | None = None
    ) -> None:
        self.trusted = True
        self._record(key, outcome, raw, attempts, usage)

    def _record(
        self, key: tuple[int, ...], outcome: Any, raw: str = "", attempts: int = 0, usage: Mapping[str, float] | None = None
    ) -> None:
        self._note_first(outcome, raw, attempts)
        cost = {name: round(value, 3) for name, value in (usage or {}).items()}
        if isinstance(outcome, Reject):
            self.rejected += 1
            reject = {"reason": outcome.reason, "detail": outcome.detail, "raw": raw[:20_000], "attempts": attempts}
            self.journal.append(JournalRecord(key, reject=reject, usage=cost))
        else:
            self.journal.append(JournalRecord(key, rows=_rows(outcome), usage=cost))
        self.own_rows += 1
        self.done.add(key)

    def _note_first(self, outcome: Any, raw: str, attempts: int) -> None:
        """Stop when all of the first rows are rejected alike. What the journal has are such rows only, to be tried again."""
        try:
            self.first_rejects.note(outcome, raw, attempts)
        except UserError:
            self.own_journal.unlink(missing_ok=True)
            raise


def _rows(outcome: Any) -> list[dict[str, Any]]:
    rows = [outcome] if isinstance(outcome, dict) else list(outcome)
    if not rows:
        raise ValueError("accept() returned neither a row nor a Reject")
    return rows


def _then(items: Iterator[Any], at_end: Callable[[], None]) -> Iterator[Any]:
    yield from items
    at_end()


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
