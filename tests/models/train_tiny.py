"""Makes the small model of the pipeline tests: a Llama that knows by heart what the rules say about a few rows of the sample.

    .venv-models/bin/python tests/models/train_tiny.py      # two minutes; writes tests/models/data/

With random weights every answer is in form and nonsense, so no row would get beyond the first stage. This one lets rows through
every stage of NegBench, and some of its answers are wrong, as those of real models are. To be run again when a template changes.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.tiny import make_tokenizer, sample_text
from shardmill.models.registry import open_model
from shardmill.planning import NewRun, start_run
from shardmill.preview import TracingModel
from shardmill.resources import resource_path
from shardmill.shard_work import pool_key
from shardmill.shards.run_folder import RunFolder
from shardmill.stage import stage_class
from shardmill.worker import run_shard

DATA = Path(__file__).parent / "data"
ROWS = 30
STEPS, BATCH, LEARNING_RATE = 1100, 16, 3e-3
TAIL, WHOLE_SHARE = 144, 0.35
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


def exchanges(folder: Path) -> list[tuple[list[dict[str, str]], str]]:
    """What the rules are asked about the rows, in every stage, and what they answer."""
    run = start_run(folder / "run", NewRun(input=write_rows(folder / "rows.csv"), num_shards=1))
    found: dict[str, tuple[list[dict[str, str]], str]] = {}
    for name in run.stages:
        tracer = None
        if stage_class(f"negbench.{name}").role == "text":
            tracer = TracingModel(open_model("text", run.stage(name).model))
        run_shard(RunFolder(run.path), name, 0, models={pool_key("text", run.stage(name).model): tracer} if tracer else {})
        for exchange in [each for several in (tracer.exchanges.values() if tracer else ()) for each in several]:
            answer = json.dumps(json.loads(exchange.raw), ensure_ascii=False, separators=(",", ":"))
            found.setdefault(json.dumps(exchange.sent[-1:]), (exchange.sent, answer))
    return list(found.values())


def train(tokenizer: PreTrainedTokenizerFast, examples: list[tuple[list[int], list[int]]]) -> LlamaForCausalLM:
    torch.manual_seed(0)
    rng = random.Random(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=3,
        num_key_value_heads=3, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    started = time.monotonic()
    for step in range(STEPS):
        whole = rng.random() < WHOLE_SHARE
        batch = rng.sample(examples, BATCH // 4 if whole else BATCH)
        rows = [(prompt if whole else prompt[-rng.randint(TAIL - 40, TAIL) :], answer) for prompt, answer in batch]
        width = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        labels = torch.full((len(rows), width), -100)
        for number, (prompt, answer) in enumerate(rows):
            ids[number, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[number, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return model.eval()


def main() -> None:
    tokenizer = make_tokenizer(sample_text(), vocab_size=2048)
    with tempfile.TemporaryDirectory() as folder:
        pairs = exchanges(Path(folder))
    examples = []
    for messages, answer in pairs:
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        examples.append((list(prompt), [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]))
    print(f"{len(examples)} exchanges, {sum(len(prompt) for prompt, _ in examples) // len(examples)} tokens a prompt")
    model = train(tokenizer, examples)
    right = 0
    for prompt, answer in examples:
        with torch.inference_mode():
            out = model.generate(torch.tensor([prompt]), max_new_tokens=len(answer), do_sample=False)
        right += out[0, len(prompt) :].tolist() == answer
    print(f"{right} of {len(examples)} answers by heart")
    model.half().save_pretrained(DATA)
    tokenizer.save_pretrained(DATA)


if __name__ == "__main__":
    main()
