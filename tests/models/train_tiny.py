"""Makes the small models of the pipeline tests: Llamas that know by heart what the rules say about a few rows of the samples.

    .venv-models/bin/python tests/models/train_tiny.py               # two minutes; writes tests/models/data/
    .venv-models/bin/python tests/models/train_tiny.py antidote      # five minutes; writes tests/models/data_antidote/
    .venv-models/bin/python tests/models/train_tiny.py anyedit       # four minutes; writes tests/models/data_anyedit/

With random weights every answer is in form and nonsense, so no row would get beyond the first stage. These let rows through
every stage of their pipeline, and some of their answers are wrong, as those of real models are. To be run again when a template
changes. Antidote's questions are about what a detector finds, so its model learns them about many picks of objects, to copy any.
AnyEdit's edits follow from the captions alone (of a thing with many boxes no layout is told), so its model learns those that the
run of the test draws.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import polars as pl
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.tiny import make_tokenizer, sample_text
from shardmill.core.model_shard import pool_key
from shardmill.core.planning import NewRun, start_run
from shardmill.core.prompts import as_json
from shardmill.core.registry import stage_class
from shardmill.core.shard_runner import run_shard
from shardmill.language.existence_questions import listed
from shardmill.models.contract import Model, Reply, Request, TextRequest
from shardmill.models.registry import open_model
from shardmill.previews.tracing import TracingModel
from shardmill.store.run_folder import RunFolder
from shardmill.util.resources import resource_path

DATA, DATA_ANTIDOTE, DATA_ANYEDIT = (Path(__file__).parent / name for name in ("data", "data_antidote", "data_anyedit"))
ROWS = 30
CAPTIONS = 24
CONCEPTS = {"c2cap": 3, "cb2cap": 8, "cc2cap": 7}
"""How many captions AnyEdit's model learns of each mode, and of how many concepts of a pool it learns what they are."""
POOL = 8
PICKS, VERDICTS = 24, 240
"""How often the lists of a caption are drawn from anew to ask questions, and how many verdicts on questions are learned."""
WHOLE_BATCH = 4
CHECKED = 40
"""So many answers of each stage are checked in the end."""
TAIL, FIRST_TAIL, WHOLE_SHARE = 144, 100, 0.35
"""Most training prompts are cut to their last tokens, which is what the answer depends on; some are left whole."""


def write_rows(path: Path, rows: int = ROWS) -> Path:
    """The first rows of the sample with a plain caption and a picture, as an input table."""
    sample = resource_path("data/samples/captions.csv")
    with open(sample, newline="", encoding="utf-8") as source, open(path, "w", newline="", encoding="utf-8") as target:
        reader = csv.DictReader(source)
        writer = csv.DictWriter(target, ["image", "caption"])
        writer.writeheader()
        for row in reader:
            image = sample.parent / row["filepath"]
            if rows and image.is_file() and 20 < len(row["caption"]) < 80 and "\n" not in row["caption"]:
                writer.writerow({"image": str(image), "caption": row["caption"]})
                rows -= 1
    return path


def write_captions(path: Path) -> Path:
    """The first captions of Antidote's sample, as an input table."""
    captions = json.loads(resource_path("data/samples/antidote.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps(dict([*captions.items()][:CAPTIONS])))
    return path


def write_concepts(path: Path) -> Path:
    """The first concepts of AnyEdit's sample of each mode, as an input table."""
    with open(resource_path("data/samples/anyedit.csv"), newline="", encoding="utf-8") as source:
        sample = [*csv.DictReader(source)]
    sample += [{**row, "background": "", "mode": "c2cap"} for row in sample[::-1]]
    with open(path, "w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, [*sample[0]])
        writer.writeheader()
        for mode, rows in CONCEPTS.items():
            writer.writerows([row for row in sample if row["mode"] == mode][:rows])
    return path


def write_pool(path: Path) -> Path:
    """The first concepts of the sample of a pool, as an input table."""
    with open(resource_path("data/samples/concepts.csv"), encoding="utf-8") as source:
        path.write_text("".join(islice(source, POOL + 1)), encoding="utf-8")
    return path


MISTAKES = {"write_instructions": 6, "judge_instructions": 8}
"""In these stages, of so many answers one is learned wrong: an output that shows no edit, and a verdict."""
EDITING = ["chain_instructions.share=1", "write_implicit.share=0.5", "write_implicit.wanted=2"]
"""What the run of the test sets: every caption gets a chain, half of the concepts get implicit edits."""

Example = tuple[list[int], list[int]]
"""A prompt and its answer in tokens."""


@dataclass(frozen=True)
class Learned:
    """A prompt and its answer."""

    stage: str
    sent: list[dict[str, str]]
    answer: str


class OneWording(Model):
    """The rules with one choice for all prompts of a kind: what is up to chance can not be learned by heart."""

    def __init__(self, model: Model):
        self._model = model

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        return self._model.stream(replace(each, seed=0) if isinstance(each, TextRequest) else each for each in requests)


def run_asking(run: RunFolder, stages: list[str], wrap: Callable[[Model], Model] = lambda model: model) -> list[Learned]:
    """Run the stages; what the rules are asked in them, and what they answer."""
    found: dict[str, Learned] = {}
    for name in stages:
        tracer = None
        if stage_class(run.plan.pipeline, name).role == "text":
            tracer = TracingModel(wrap(open_model("text", run.stage(name).model)))
        run_shard(run, name, 0, models={pool_key("text", run.stage(name).model): tracer} if tracer else {})
        for exchange in [each for several in (tracer.exchanges.values() if tracer else ()) for each in several]:
            task = json.dumps([exchange.sent[0], exchange.sent[-1]])
            found.setdefault(task, Learned(name, exchange.sent, as_json(json.loads(exchange.raw))))
    return list(found.values())


def negbench_exchanges(folder: Path) -> list[Learned]:
    """What is asked about the rows in every stage."""
    run = start_run(folder / "run", NewRun(input=write_rows(folder / "rows.csv"), num_shards=1))
    return run_asking(run, run.stages)


def antidote_exchanges(folder: Path) -> list[Learned]:
    """What is asked about the captions, and about many picks of what a detector might find of their objects."""
    rng = random.Random(0)
    run = start_run(folder / "run", NewRun(input=write_captions(folder / "captions.json"), pipeline="antidote", num_shards=1))
    about_captions = run_asking(run, ["parse_captions", "judge_captions"], OneWording)
    lists = [(json.loads(row["present"]), json.loads(row["absent"])) for row in run.read_part("judge_captions", 0)[0].to_dicts()]
    picks = [[_some(names, rng) for names in both] for both in lists for _ in range(PICKS)]
    rows = [(*[f"A picture of {listed(present)}."] * 2, json.dumps(present), json.dumps(absent)) for present, absent in picks]
    columns = ["caption", "verified_caption", "verified_present", "verified_absent"]
    pl.DataFrame(rows, columns, orient="row").write_csv(folder / "picks.csv")
    pipeline = folder / "questions.yaml"
    pipeline.write_text(
        "{pipeline: antidote, stages: [{stage: ask_presuppositions, model: rules}, {stage: judge_questions, model: rules}]}"
    )
    new = NewRun(input=folder / "picks.csv", pipeline=str(pipeline), list_columns=columns[2:], num_shards=1)
    asking = start_run(folder / "asking", replace(new, settings=["ask_presuppositions.pairs=3"]))
    about_questions = run_asking(asking, asking.stages, OneWording)
    pairs, verdicts = ([each for each in about_questions if each.stage == stage] for stage in asking.stages)
    return [*about_captions, *pairs, *rng.sample(verdicts, min(VERDICTS, len(verdicts)))]


def anyedit_exchanges(folder: Path) -> list[Learned]:
    """What is asked about the concepts and their captions, and about a pool of concepts. Pictures are not looked at."""
    settings = [*EDITING, "select_captions.images=''"]
    new = NewRun(input=write_concepts(folder / "pairs.csv"), pipeline="anyedit", num_shards=1, settings=settings)
    run = start_run(folder / "run", new)
    pipeline, pool = str(resource_path("slurm/pipelines/anyedit-concepts.yaml")), write_pool(folder / "pool.csv")
    sorting = start_run(folder / "sorting", NewRun(pool, pipeline=pipeline, list_columns=["backgrounds"], num_shards=1))
    about_concepts = run_asking(run, run.stages, OneWording)
    return [*map(_mistaken, about_concepts, count()), *run_asking(sorting, sorting.stages, OneWording)]


def _mistaken(learned: Learned, place: int) -> Learned:
    """Now and then a wrong answer instead."""
    every = MISTAKES.get(learned.stage)
    if every is None or place % every:
        return learned
    answer = json.loads(learned.answer)
    wrong = {**answer, "verdict": "vague"} if "verdict" in answer else {**answer, "output": answer["edit"]}
    return replace(learned, answer=as_json(wrong))


def _some(names: list[str], rng: random.Random) -> list[str]:
    """At least one of the names, in their order."""
    chosen = rng.sample(names, rng.randint(1, len(names)))
    return [name for name in names if name in chosen]


def antidote_text() -> list[str]:
    captions = json.loads(resource_path("data/samples/antidote.json").read_text(encoding="utf-8")).values()
    templates = sorted(resource_path("templates/antidote/parse_captions.md").parent.glob("*.md"))
    return [*captions, *(line for path in templates for line in path.read_text(encoding="utf-8").splitlines())]


def anyedit_text() -> list[str]:
    folder, rules = (resource_path(name).parent for name in ("templates/anyedit/write_captions.md", "templates/rules/edits.yaml"))
    tables = [rules / f"{name}.yaml" for name in ("edits", "implicit", "scene_captions", "backgrounds")]
    files = [resource_path("data/samples/anyedit.csv"), *sorted(folder.rglob("*.md")), *tables]
    return [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Pupil:
    """What a pipeline's model learns, in how many steps, and how large it is.

    With `shares` each step is about one stage, drawn by its share. The first steps are about one stage alone and with short
    prompts: that is how copying a name into a question is learned; with all stages at once it is not.
    """

    data: Path
    text: Callable[[], list[str]]
    exchanges: Callable[[Path], list[Learned]]
    steps: int
    hidden_size: int
    heads: int
    batch: int
    learning_rate: float
    shares: Mapping[str, float] = field(default_factory=dict)
    first_stage: str = ""
    first_steps: int = 0


PUPILS = {
    "negbench": Pupil(DATA, sample_text, negbench_exchanges, 1100, hidden_size=96, heads=3, batch=16, learning_rate=3e-3),
    "antidote": Pupil(
        DATA_ANTIDOTE, antidote_text, antidote_exchanges, 750, hidden_size=128, heads=4, batch=24, learning_rate=2e-3,
        shares={"parse_captions": 0.4, "judge_captions": 0.05, "ask_presuppositions": 0.48, "judge_questions": 0.07},
        first_stage="ask_presuppositions", first_steps=250,
    ),
    "anyedit": Pupil(
        DATA_ANYEDIT, anyedit_text, anyedit_exchanges, 900, hidden_size=96, heads=3, batch=16, learning_rate=3e-3,
        shares={
            "write_captions": 0.1, "write_instructions": 0.33, "judge_instructions": 0.1, "chain_instructions": 0.33,
            "write_implicit": 0.08, "judge_concepts": 0.02, "propose_backgrounds": 0.04,
        },
        first_stage="write_instructions", first_steps=150,
    ),
}  # fmt: skip


def train(pupil: Pupil, tokenizer: PreTrainedTokenizerFast, lessons: dict[str, list[Example]]) -> LlamaForCausalLM:
    torch.manual_seed(0)
    rng = random.Random(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=pupil.hidden_size, intermediate_size=256, num_hidden_layers=3, head_dim=32,
        num_attention_heads=pupil.heads, num_key_value_heads=pupil.heads, max_position_embeddings=4096, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=pupil.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, pupil.learning_rate, total_steps=pupil.steps, pct_start=0.1)
    everything = [example for lesson in lessons.values() for example in lesson]
    started = time.monotonic()
    for step in range(pupil.steps):
        first = step < pupil.first_steps
        lesson = lessons[rng.choices([*pupil.shares], [*pupil.shares.values()])[0]] if pupil.shares else everything
        lesson = lessons[pupil.first_stage] if first else lesson
        whole = not first and rng.random() < WHOLE_SHARE
        tail = FIRST_TAIL if first or (pupil.shares and rng.random() < 0.5) else TAIL
        batch = rng.sample(lesson, min(WHOLE_BATCH if whole else pupil.batch, len(lesson)))
        rows = [(prompt if whole else prompt[-rng.randint(tail - 40, tail) :], answer) for prompt, answer in batch]
        width = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        labels = torch.full((len(rows), width), -100)
        for number, (prompt, answer) in enumerate(rows):
            ids[number, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[number, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        asked = labels[:, 1:] != -100
        states = model.model(input_ids=ids).last_hidden_state[:, :-1][asked]
        loss = torch.nn.functional.cross_entropy(model.lm_head(states), labels[:, 1:][asked])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return model.eval()


def knows(model: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> bool:
    """Whether the model gives the answer word for word."""
    with torch.inference_mode():
        out = model.generate(torch.tensor([prompt]), max_new_tokens=len(answer), do_sample=False)
    return out[0, len(prompt) :].tolist() == answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small model of a pipeline's tests.")
    parser.add_argument("pipeline", nargs="?", choices=PUPILS, default="negbench")
    pupil = PUPILS[parser.parse_args().pipeline]
    tokenizer = make_tokenizer(pupil.text(), vocab_size=2048)
    with tempfile.TemporaryDirectory() as folder:
        learned = pupil.exchanges(Path(folder))
    lessons: dict[str, list[Example]] = {}
    for each in learned:
        prompt = tokenizer.apply_chat_template(each.sent, add_generation_prompt=True, return_dict=False)
        answer = [*tokenizer(each.answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        lessons.setdefault(each.stage, []).append(([*prompt], answer))
    print(", ".join(f"{stage}: {len(lesson)} exchanges" for stage, lesson in lessons.items()), flush=True)
    model = train(pupil, tokenizer, lessons)
    model.half().save_pretrained(pupil.data)
    tokenizer.save_pretrained(pupil.data)
    for stage, examples in lessons.items():
        checked = random.Random(0).sample(examples, min(CHECKED, len(examples)))
        right = sum(knows(model.float(), prompt, answer) for prompt, answer in checked)
        print(f"{stage}: {right} of {len(checked)} answers by heart", flush=True)


if __name__ == "__main__":
    main()
