"""Tokens per second of the vllm engine beside vLLM's own `LLM.chat`, on the same prompts of a NegBench template.

`whole` gives it all prompts at once, which a worker with rows that ask again cannot do; `chunks` gives them in batches, as
scripts do that go through a table in steps: the engine runs dry at the end of each. Ours takes them one by one from a generator.
Needs vLLM; the weights are random, so on a machine without a GPU it takes a small model.

    python tests/bench/vllm_stream.py [--layers 8 --hidden 512] [--rows 256] [--model FOLDER]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0")  # the other cores are for what feeds the engine, as beside a GPU

from shardmill.core.prompts import Prompt, load_template
from shardmill.models.contract import Sampling, TextRequest
from shardmill.models.text.vllm import VllmModel

TEMPLATE = "negbench/extract_objects"
WORDS = [
    "dog",
    "cat",
    "table",
    "lamp",
    "river",
    "bridge",
    "child",
    "kite",
    "apple",
    "bench",
    "tower",
    "boat",
    "horse",
    "train",
    "window",
    "garden",
]


def requests(rows: int, offset: int, tokens: int) -> Iterator[TextRequest]:
    """Prompts of one template with answers of varied length: up to `tokens`, by row."""
    template = load_template(TEMPLATE)
    for row in range(offset, offset + rows):
        caption = f"photo {row}: a " + " and a ".join(WORDS[(row * step) % len(WORDS)] for step in (1, 3, 7))
        limit = tokens // 4 + (row * 37) % (3 * tokens // 4)
        yield TextRequest(Prompt(template, {"caption": caption}), Sampling(max_tokens=limit), key=str(row), seed=row)


def ours(model: VllmModel, asked: list[TextRequest]) -> int:
    return sum(reply.usage.completion_tokens for reply in model.stream(asked))


def theirs(llm: Any, asked: list[TextRequest], batch: int) -> int:
    from vllm import SamplingParams

    tokens = 0
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        chats = [request.chat.messages(request.seed) for request in part]
        sampling = [SamplingParams(temperature=0, max_tokens=request.sampling.max_tokens) for request in part]
        tokens += sum(len(output.outputs[0].token_ids) for output in llm.chat(chats, sampling, use_tqdm=False))
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder of weights; a random Llama is made if not given")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-num-seqs", type=int, default=32)
    args = parser.parse_args()
    from vllm import LLM

    from models.tiny import build_llama

    folder = args.model or str(build_llama(Path(tempfile.mkdtemp()) / "model", hidden_size=args.hidden, layers=args.layers))
    engine = {"dtype": "auto", "max_model_len": 2048, "max_num_seqs": args.max_num_seqs, "enforce_eager": True}
    model = VllmModel(model=folder, **engine)
    llm = LLM(model=folder, enable_prefix_caching=True, disable_log_stats=True, **engine)
    runs: dict[str, Callable[[list[TextRequest]], int]] = {
        "ours": lambda asked: ours(model, asked),
        "whole": lambda asked: theirs(llm, asked, len(asked)),
        "chunks": lambda asked: theirs(llm, asked, args.batch),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.rounds + 1):
        for number, (name, run) in enumerate(runs.items()):
            asked = list(requests(args.rows, (turn * len(runs) + number) * args.rows, args.tokens))
            started = time.perf_counter()
            tokens = run(asked)
            if turn:  # the first is a warm-up
                rates[name].append(tokens / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        spread = f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}"
        print(f"{name:7} {rate:8,.0f} tokens/s ({spread}), ours {medians['ours'] / rate:.2f} times that")


if __name__ == "__main__":
    main()
