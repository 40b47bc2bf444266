"""The rows of one shard of a model stage: ask, judge, ask again, and journal each row when it is finished."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.in_flight import InFlightRequest, Pending, origin_of, usage_of
from shardmill.core.seeding import rng_of, seed_of
from shardmill.core.stage import Answer, FollowUp, ModelCall, ModelStage, Reject
from shardmill.models.contract import CaptionRequest, Model, Reply, TextRequest
from shardmill.models.registry import open_model
from shardmill.store.cells import Kind, check_cells, decode
from shardmill.store.journal import Journal, JournalHeader, JournalReader, JournalRecord, read_header, read_kept
from shardmill.store.leases import Leases, ShardBusy, blocks
from shardmill.store.run_folder import RunFolder, digest_of
from shardmill.util.errors import Stopped, UserError
from shardmill.util.progress import Progress

log = logging.getLogger("shardmill")

SUSPICIOUS_ROWS = 20
"""When this many rows in a row make the stage itself raise, it is the stage that is broken, not the rows."""
STAGE_ERROR = "stage error"
CUT = "cut by the token limit"
MAX_ASKS = 1_000
"""A row that wants more than so many answers would go on for ever."""
SECOND_TEMPERATURE = 0.7
"""What was asked at temperature 0 is asked again at this one: otherwise the answer would be the same."""


Report = Callable[[Progress], None]
ModelPool = dict[str, Model]


def pool_key(role: str, spec: Mapping[str, Any]) -> str:
    """The name of a loaded model in a `ModelPool`: stages that use the same model share it."""
    return f"{role} {sorted(spec.items())}"


class ShardWork:
    """The rows of one shard of a model stage that are not finished yet."""

    def __init__(
        self,
        run: RunFolder,
        stage: ModelStage,
        short: str,
        shard: int,
        table: pl.DataFrame,
        attempt: str,
        fingerprint: Mapping[str, str],
        claims: Leases | None = None,
    ):
        self.run, self.stage, self.table, self.claims = run, stage, table, claims
        self.planned = run.stage(short)
        self.kinds: dict[str, Kind] = run.kinds(self.planned.after)
        self.key_columns = [name for name in ("row_id", "sub_id") if name in table.columns]
        self.files = run.files(short, shard)
        digest, known = digest_of(dict(fingerprint)), run.digests(short)
        journals = self._earlier = self.files.journals()
        self.keys = set(table.select(self.key_columns).iter_rows())
        self.done: set[tuple[int, ...]] = set()
        self.reader = JournalReader(known)
        self.kept = read_kept(journals, known) if stage.extendable else {}
        self.round = max((header.round for path in journals if (header := read_header(path))), default=0)
        self.own_journal = self.files.journal(attempt)
        self.journal = Journal(self.own_journal, JournalHeader(digest, self.round))
        self.flights: dict[str, InFlightRequest] = {}
        self.shared: dict[str, Answer] = {}
        self.again: deque[str] = deque()
        self.rejected = 0
        self.own_rows = 0
        self.faults: list[tuple[tuple[int, ...], Exception]] = []
        self.sound = False

    def do(
        self,
        models: ModelPool,
        report: Report,
        should_stop: Callable[[], bool],
        all_requested: Callable[[], None] = lambda: None,
    ) -> None:
        """Finish every row into the journal. The model is loaded only if a row has something to ask.

        With claims, only the rows that no other worker holds; raises Held if some are left to others then.
        """
        self._learn(self._earlier)
        resumed, total = len(self.done), self.table.height
        with closing(self.journal):
            requests = self._requests(should_stop)
            while (first := next(requests, None)) is not None:
                model = self._model(models)
                if getattr(model, "many_streams", False):
                    requests = _then(requests, all_requested)
                for reply in model.stream(_chain(first, requests)):
                    self._take(reply)
                    if should_stop():
                        raise Stopped(f"{len(self.done):,} of {total:,} rows are in the journal")
                    report(Progress(len(self.done), total, resumed, self.rejected))
                requests = self._requests(should_stop, rows=False)
            if should_stop() and len(self.done) < total:
                raise Stopped(f"{len(self.done):,} of {total:,} rows are in the journal")
            if self.flights:
                raise UserError(f"the model gave no reply to {len(self.flights)} requests, such as {next(iter(self.flights))}")
            self._reject_faults()
            report(Progress(len(self.done), total, resumed, self.rejected))
        if len(self.done) < total:
            self._look()
        if len(self.done) < total:
            if not self.own_rows:
                self.own_journal.unlink(missing_ok=True)
            raise ShardBusy(f"{total - len(self.done):,} of {total:,} rows are other workers'")

    def _look(self) -> None:
        """Learn which rows other attempts have finished by now."""
        self._learn([path for path in self.files.journals() if path != self.own_journal])

    def _learn(self, journals: list[Path]) -> None:
        self.done.update(key for key in self.reader.new_keys(journals) if key in self.keys)

    def _model(self, models: ModelPool) -> Model:
        assert self.stage.role is not None
        name = pool_key(self.stage.role, self.planned.model)
        if name not in models:
            for other in [other for other, model in models.items() if getattr(model, "fills_gpu", False)]:
                models.pop(other).close()  # type: ignore[attr-defined]
            models[name] = open_model(self.stage.role, self.planned.model)
        return models[name]

    def _requests(self, should_stop: Callable[[], bool], rows: bool = True) -> Iterator[Any]:
        """Requests for the model: answers to ask again first, then the asks of the next row."""
        pending = self._unfinished_rows() if rows else iter(())
        while not should_stop():
            while self.again:
                yield self._request(self.again.popleft())
            row = next(pending, None)
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
        """The blocks that this worker could claim; one that comes to help starts from the other end."""
        if self.claims is None:
            yield table
            return
        order = list(enumerate(blocks(table.height)))
        if self.claims.others():
            order.reverse()
        for block, (start, end) in order:
            piece = table.slice(start, end - start)
            if any(self._key(row) not in self.done for row in piece.iter_rows(named=True)) and self.claims.take(block):
                if self.claims.was_anothers(block):
                    self._look()
                yield piece

    def _open_row(self, row: dict[str, Any]) -> list[str]:
        """Ask what the row needs; returns the keys of new flights. A row that asks nothing is finished at once."""
        key = self._key(row)
        try:
            decoded = {name: decode(value, self.kinds[name]) for name, value in row.items()}
        except ValueError as error:
            self._finish(key, Reject("unreadable cell", str(error)))
            return []
        try:
            asks = self.stage.ask(decoded, rng_of(self.run.plan.seed, self.stage.name, *key, self.round))
            answers: list[Answer | None] = [None] * len(asks)
            if key in self.kept:
                answers = self.stage.reuse(asks, self.kept[key])
        except Exception as error:
            self._fault(key, error)
            return []
        pending = Pending(key, decoded, answers, answers.count(None))
        opened = []
        for index, ask in enumerate(asks):
            if answers[index] is not None:
                continue
            flight_key = self._launch(pending, index, ask)
            if flight_key is not None:
                opened.append(flight_key)
        if pending.missing == 0:
            self._close_row(pending)
        return opened

    def _launch(self, pending: Pending, index: int, ask: ModelCall) -> str | None:
        """Put an ask under way, or attach it to one that is or was; returns the key of a new flight."""
        if ask.share is not None and ask.share in self.shared:
            pending.answers[index] = self.shared[ask.share]
            pending.missing -= 1
            return None
        origin = origin_of(pending.key, index, ask)
        flight = self.flights.get(origin)
        if flight is not None:
            flight.waiting.append((pending, index))
            return None
        self.flights[origin] = InFlightRequest(ask, origin, waiting=[(pending, index)])
        return origin

    def _request(self, origin: str) -> Any:
        flight = self.flights[origin]
        seed = seed_of(self.run.plan.seed, self.stage.name, origin, self.round, flight.attempt)
        asked = flight.ask.shorter if flight.shortened and flight.ask.shorter else flight.ask.request
        request = replace(asked, key=origin, seed=seed)
        if flight.attempt > 1 and isinstance(request, (TextRequest, CaptionRequest)) and request.sampling.temperature == 0:
            return replace(request, sampling=replace(request.sampling, temperature=SECOND_TEMPERATURE))
        return request

    def _take(self, reply: Reply) -> None:
        """Judge a reply: ask again with a new seed while attempts are left, else hand the answer to who waits."""
        flight = self.flights.get(reply.key)
        if flight is None:
            raise UserError(f"the model gave a second reply, or one that nobody asked for, to {reply.key!r}")
        flight.usage.update(usage_of(reply, flight.attempt))
        answer = self._judge(flight, reply)
        if answer.problem is not None and reply.finish != "unusable" and flight.attempt < self.planned.attempts:
            flight.attempt += 1
            self.again.append(reply.key)
            return
        del self.flights[reply.key]
        if flight.ask.share is not None:
            self.shared[flight.ask.share] = answer
        flight.waiting[0][0].usage.update(flight.usage)
        for pending, index in flight.waiting:
            pending.answers[index] = answer
            pending.missing -= 1
            if pending.missing == 0:
                self._close_row(pending)

    def _judge(self, flight: InFlightRequest, reply: Reply) -> Answer:
        ask = flight.ask
        failed = Answer(
            ask,
            problem=reply.problem or "model error",
            detail=reply.detail,
            raw=self.stage.raw(reply),
            attempts=flight.attempt,
            finish=reply.finish,
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
        )
        if reply.finish in ("error", "unusable"):
            return failed
        if reply.finish == "length":
            if ask.shorter is not None and not flight.shortened and flight.attempt < self.planned.attempts:
                flight.shortened = True
                return replace(failed, problem=CUT)
            usable = ask.whole(str(reply.result)) if ask.whole else None
            if usable is None:
                return replace(failed, problem=CUT)
            reply = replace(reply, result=usable)
        try:
            value = self.stage.parse(reply)
        except ValueError as error:
            return replace(failed, problem="malformed answer", detail=str(error))
        try:
            problem = ask.check(value) if ask.check else None
        except Exception as error:
            log.exception("stage %s failed on the answer to %s", self.stage.name, flight.origin)
            return replace(failed, problem=STAGE_ERROR, detail=f"{type(error).__name__}: {error}")
        return replace(failed, value=value, problem=problem, detail="")

    def _close_row(self, pending: Pending) -> None:
        answers = [answer for answer in pending.answers if answer is not None]
        problems = [answer for answer in answers if answer.problem is not None]
        if answers and len(problems) == len(answers) and not self.stage.tolerant:
            first = problems[0]
            self._finish(pending.key, Reject(first.problem or "", first.detail), first.raw, first.attempts, pending.usage)
            return
        try:
            outcome = self.stage.accept(pending.row, answers)
            if isinstance(outcome, FollowUp):
                self._ask_more(pending, outcome.calls)
                return
            for values in [] if isinstance(outcome, Reject) else _rows(outcome):
                check_cells(values, self.planned.adds)
        except UserError:
            raise
        except Exception as error:
            self._fault(pending.key, error)
            return
        raw = "\n".join(answer.raw for answer in answers if answer.raw)
        self._finish(pending.key, outcome, raw, max((answer.attempts for answer in answers), default=0), pending.usage)

    def _ask_more(self, pending: Pending, asks: list[ModelCall]) -> None:
        """Put the further asks of a row under way; it is closed again when they are answered."""
        first = len(pending.answers)
        if not asks or first + len(asks) > MAX_ASKS:
            raise ValueError(f"{len(asks)} more to ask after {first}: not between 1 and {MAX_ASKS} in all")
        pending.answers += [None] * len(asks)
        pending.missing += len(asks)
        for index, ask in enumerate(asks, first):
            flight = self._launch(pending, index, ask)
            if flight is not None:
                self.again.append(flight)
        if pending.missing == 0:
            self._close_row(pending)

    def _fault(self, key: tuple[int, ...], error: Exception) -> None:
        """A row made the stage raise: reject that row, but stop when it is every row.

        Until some row is finished in the usual way faults are held back: those of a broken stage must not stay in the journal
        when the stage is mended.
        """
        log.error("stage %s failed on row %s", self.stage.name, key, exc_info=error)
        self.faults.append((key, error))
        if self.sound:
            self._reject_faults()
        elif len(self.faults) >= SUSPICIOUS_ROWS:
            raise UserError(
                f"stage {self.stage.name} failed on each of the first {len(self.faults)} rows: {type(error).__name__}: {error}"
            ) from error

    def _reject_faults(self) -> None:
        faults, self.faults = self.faults, []
        for key, error in faults:
            self._record(key, Reject(STAGE_ERROR, f"{type(error).__name__}: {error}"))

    def _finish(
        self, key: tuple[int, ...], outcome: Any, raw: str = "", attempts: int = 0, usage: Mapping[str, float] | None = None
    ) -> None:
        self.sound = True
        self._record(key, outcome, raw, attempts, usage)

    def _record(
        self, key: tuple[int, ...], outcome: Any, raw: str = "", attempts: int = 0, usage: Mapping[str, float] | None = None
    ) -> None:
        cost = {name: round(value, 3) for name, value in (usage or {}).items()}
        if isinstance(outcome, Reject):
            self.rejected += 1
            reject = {"reason": outcome.reason, "detail": outcome.detail, "raw": raw[:20_000], "attempts": attempts}
            self.journal.append(JournalRecord(key, reject=reject, usage=cost))
        else:
            self.journal.append(JournalRecord(key, rows=_rows(outcome), usage=cost))
        self.own_rows += 1
        self.done.add(key)


def _rows(outcome: Any) -> list[dict[str, Any]]:
    rows = [outcome] if isinstance(outcome, dict) else list(outcome)
    if not rows:
        raise ValueError("neither a row nor a reason to reject it")
    return rows


def _then(items: Iterator[Any], at_end: Callable[[], None]) -> Iterator[Any]:
    yield from items
    at_end()


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
