"""What a run has paid for, and what it may: the budget and prices of `jobs/budget.json`, and what each process has spent so far.

Everything that was paid counts, also for rows that were made again later or whose worker was killed: manifests know less.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shardmill.store.plan import MAX_STAGES, Plan, Price, StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import new_attempt, replacing
from shardmill.util.commands import command_line
from shardmill.util.errors import BudgetSpent, UserError, did_you_mean
from shardmill.util.safe_files import read_untrusted
from shardmill.util.yaml_text import read_yaml

BUDGET, SPENDING = Path("jobs", "budget.json"), Path("jobs", "spending")
REFRESH_SECONDS = 2.0
"""How often a worker looks at what the others have spent, and writes what it has spent itself."""
FIRST_ROWS = 8
"""With a budget, so many rows of a shard may be in progress before it is known what a row costs."""
MAX_FILES, MAX_BYTES = 100_000, 4_096
MAX_PRICES_BYTES = 1_000_000

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class Budget(BaseModel):
    """What a run may cost at most, and prices by the name of the model that count instead of those of model files."""

    model_config = ConfigDict(extra="forbid")
    max_cost: float | None = Field(default=None, gt=0)
    prices: dict[ModelName, Price] = Field(default_factory=dict, max_length=10 * MAX_STAGES)

    def price_of(self, stage: StagePlan) -> Price | None:
        """What the model of a stage costs; None if nobody has said so."""
        return self.prices.get(str(stage.model.get("model", "")), stage.price)


class ProcessSpending(BaseModel):
    """What a process has spent, and what the rows that it has in progress will probably cost."""

    model_config = ConfigDict(allow_inf_nan=False)
    spent: float = Field(default=0.0, ge=0)
    reserved: float = Field(default=0.0, ge=0)


def read_budget(run: RunFolder) -> Budget:
    """The budget of a run; one without a limit if it has none. Raises UserError for a file that is not one."""
    path = run.path / BUDGET
    try:
        return Budget.model_validate_json(read_untrusted(path, MAX_PRICES_BYTES))
    except FileNotFoundError:
        return Budget()
    except ValidationError as error:
        raise UserError(
            f"{path} is not a budget ({error.errors()[0]['msg']}); remove it, and give --max-cost and --prices again"
        ) from None


def changed_budget(before: Budget, plan: Plan, max_cost: float | None, prices: Path | None) -> Budget:
    """The budget of a run with another limit, prices, or both; what is not given stays. An infinite `max_cost` is no limit.

    Raises:
        UserError: If `max_cost` is not a number, a model that is paid by tokens has no price, or the file of prices is not one.
    """
    if max_cost is not None and math.isnan(max_cost):
        raise UserError("--max-cost: nan is not an amount")
    limit = before.max_cost if max_cost is None else None if math.isinf(max_cost) else max_cost
    known = {**before.prices, **(read_prices(prices) if prices is not None else {})}
    changed = Budget(max_cost=limit, prices=known)
    if limit is not None:
        _check_prices(plan, changed)
    return changed


def set_budget(run: RunFolder, max_cost: float | None, prices: Path | None) -> None:
    """Give a run a budget, prices, or both; see `changed_budget`."""
    changed = changed_budget(read_budget(run), run.plan, max_cost, prices)
    (run.path / BUDGET).parent.mkdir(parents=True, exist_ok=True)
    with replacing(run.path / BUDGET) as file:
        file.write(changed.model_dump_json(indent=1).encode())


def read_prices(path: Path) -> dict[str, Price]:
    """A file of prices: YAML, `MODEL: {prompt: 0.15, cached_prompt: 0.075, completion: 0.60}` by line. Raises UserError."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
        return Budget.model_validate({"prices": content}).prices
    except FileNotFoundError:
        raise UserError(f"--prices: {path} was not found") from None
    except ValidationError as error:
        raise UserError(f"{path}: {_price_error(error)}; a line is MODEL: {{prompt: 0.15, completion: 0.60}}") from None
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise UserError(f"--prices: {path} cannot be read: {' '.join(str(error).split())[:300]}") from None


def _price_error(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]
    if not where:
        return "there are no prices by model in it"
    if first["type"] == "extra_forbidden":
        return f"{where[0]} has no price {where[-1]!r}; {did_you_mean(where[-1], Price.model_fields)}"
    return f"{'.'.join(where)}: {first['msg']}"


def _check_prices(plan: Plan, budget: Budget) -> None:
    prices = {stage.name: budget.price_of(stage) for stage in plan.stages if stage.role is not None}
    paid = [stage for stage in plan.stages if stage.model.get("kind") == "openai" and stage.model.get("base_urls")]
    free = [stage for stage in paid if not _has_token_price(prices[stage.name])]
    if free:
        model = free[0].model.get("model")
        raise UserError(
            f"--max-cost: the model {model!r} of {free[0].name} has no price; give it one (0 if it is free) with --prices FILE, "
            f"where FILE has the line: {model}: {{prompt: 0.15, completion: 0.60}}"
        )
    if not any(map(_has_token_price, prices.values())):
        raise UserError("--max-cost: no model of this run has a price for tokens, so nothing would be counted; leave it out")


def _has_token_price(price: Price | None) -> bool:
    return price is not None and bool({"prompt", "completion"} & price.model_fields_set)


class Ledger:
    """What this process spends on a run. All of its threads share it."""

    def __init__(self, run: RunFolder):
        self._run, self._lock = run, threading.Lock()
        self._own = run.path / SPENDING / f"{new_attempt()}-{os.getpid()}.json"
        self._spent, self._reserved = 0.0, dict[int, float]()
        self._written = self._looked = -math.inf
        self._others = ProcessSpending()
        self.budget = read_budget(run)

    def pay(self, cost: float) -> None:
        """Something was bought."""
        with self._lock:
            self._spent += cost
            if time.monotonic() - self._written > REFRESH_SECONDS:
                self._write()

    def reserve(self, holder: int, cost: float) -> None:
        """What a holder has in progress will probably cost so much; 0 when nothing is in progress any more."""
        with self._lock:
            self._reserved[holder] = cost
            if not cost:
                del self._reserved[holder]
                self._write()

    def left(self, holder: int) -> float:
        """What a holder may still spend, beside what others have in progress; infinite without a budget."""
        with self._lock:
            self._look()
            if self.budget.max_cost is None:
                return math.inf
            others = self._others.spent + self._others.reserved
            mine = self._spent + sum(cost for other, cost in self._reserved.items() if other != holder)
            return self.budget.max_cost - others - mine

    def spent_by_all(self) -> float:
        """What all processes have spent."""
        with self._lock:
            return self._spent + self._others.spent

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < REFRESH_SECONDS:
            return
        self.budget = read_budget(self._run)
        if self.budget.max_cost is not None:
            self._write()
            self._others = _sum_of(self._run, self._own)
        self._looked = time.monotonic()

    def _write(self) -> None:
        if not (self._spent or self._reserved):
            return
        self._written = time.monotonic()
        self._own.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._own) as file:
            state = ProcessSpending(spent=self._spent, reserved=sum(self._reserved.values()))
            file.write(state.model_dump_json().encode())


_ledgers: dict[Path, Ledger] = {}
_ledgers_lock = threading.Lock()


def ledger_of(run: RunFolder) -> Ledger:
    """The ledger of this process for a run."""
    with _ledgers_lock:
        return _ledgers.setdefault(run.path.resolve(), Ledger(run))


def spent_on(run: RunFolder) -> float:
    """What all processes have spent on a run, by their own records."""
    return _sum_of(run, None).spent


def _sum_of(run: RunFolder, without: Path | None) -> ProcessSpending:
    """The sum over all processes but one. A record that cannot be read counts nothing."""
    spent = reserved = 0.0
    for path in sorted((run.path / SPENDING).glob("*.json"))[:MAX_FILES]:
        if path != without:
            with suppress(OSError, UserError, ValidationError):
                found = ProcessSpending.model_validate_json(read_untrusted(path, MAX_BYTES))
                spent, reserved = spent + found.spent, reserved + found.reserved
    return ProcessSpending(spent=spent, reserved=reserved)


class Meter:
    """Holds the rows of a shard to the budget of its run.

    A row is begun only if the budget covers it and all rows in progress, at what a row has cost so far. So whatever is begun can
    be finished, and nothing that was paid for is thrown away.
    """

    def __init__(self, run: RunFolder, stage: StagePlan):
        self._run = run
        self._ledger = ledger_of(run) if stage.role is not None else None
        self._price = self._ledger.budget.price_of(stage) if self._ledger else None
        self._spent, self._begun, self._finished = 0.0, 0, 0

    @property
    def in_progress(self) -> int:
        """Rows that were begun and not finished."""
        return self._begun - self._finished

    def begin_row(self) -> None:
        """A row has made its first calls."""
        self._begun += 1

    def finish_row(self) -> None:
        """A row that was begun needs no more calls."""
        self._finished += 1

    def pay(self, usage: Mapping[str, float]) -> None:
        """A reply came that cost what its usage counts."""
        if self._ledger is not None and self._price is not None and (cost := self._price.of(usage)):
            self._spent += cost
            self._ledger.pay(cost)

    def may_begin_row(self) -> bool:
        """Whether the budget covers one more row."""
        if self._ledger is None or self._price is None:
            return True
        left = self._ledger.left(id(self))
        if math.isinf(left):
            return True
        if not (self._finished and self._spent):
            return self.in_progress < FIRST_ROWS and left > 0
        each = self._spent / self._finished
        self._ledger.reserve(id(self), self.in_progress * each)
        return left > 0 and (self.in_progress + 1) * each <= left

    def close(self) -> None:
        """Nothing is in progress any more."""
        if self._ledger is not None and self._price is not None:
            self._ledger.reserve(id(self), 0.0)

    def budget_spent(self) -> BudgetSpent:
        """What to raise when rows are left that may not be begun."""
        assert self._ledger is not None
        again = command_line("launch", self._run.plan.pipeline, "--run", self._run.path, "--max-cost")
        spent = f"{self._ledger.spent_by_all():.2f} so far, and the next row may cost more than what is left"
        return BudgetSpent(
            f"the budget of {self._ledger.budget.max_cost:g} is spent ({spent}); all finished rows are saved. "
            f"To go on, give more: {again} AMOUNT"
        )
