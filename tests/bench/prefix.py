"""How much of each prompt a prefix cache pays for once, by template: on rendered token ids, and by a live vLLM's own counters.

The bundled sample goes through NegBench with the `rules`; what each text stage asks is varied to so many rows, rendered, and put
into the tokens of a real tokenizer (Mistral's Tekken, which comes with vLLM; Llama 3's differs by a few percent). A cache that
keeps everything, in blocks of 16 tokens as vLLM has them, then gives the share of the prompt tokens that it had seen before.

    python tests/bench/prefix.py [--rows 10000] [--live]
    python tests/bench/prefix.py --set caption_negated.together=false --set paraphrase_mcq.together=false
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from shardmill.core.model_shard import pool_key
from shardmill.core.planning import NewRun, start_run
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.registry import stage_class
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Model, Reply, Sampling, TextRequest
from shardmill.models.registry import open_model
from shardmill.util.resources import resource_path

BLOCK = 16
ROLES = {"system": -1, "user": -2, "assistant": -3}
"""Role marks as single tokens of their own, as Llama 3 has three and a line break."""


class Recording(Model):
    """A model that keeps what it is asked and what it answers."""

    def __init__(self, model: Model):
        self._model = model
        self.asked: list[TextRequest] = []
        self.answers: list[str] = []

    def stream(self, requests: Iterable[Any]) -> Iterator[Reply]:
        def noting() -> Iterator[Any]:
            for request in requests:
                self.asked.append(request)
                yield request

        for reply in self._model.stream(noting()):
            self.answers.append(str(reply.result))
            yield reply


def record(settings: Sequence[str]) -> tuple[int, int, dict[str, Recording]]:
    """The rows of the sample, how many of them get negated captions, and what each text stage asks about them."""
    found: dict[str, Recording] = {}
    with tempfile.TemporaryDirectory() as folder:
        new = NewRun(input=resource_path("data/samples/captions.csv"), num_shards=1, settings=settings)
        run = start_run(Path(folder) / "run", new)
        for name in run.stages:
            model = run.stage(name).model
            if stage_class("negbench", name).role == "text":
                found[name] = Recording(open_model("text", model))
            manifest = run_shard(run, name, 0, models={pool_key("text", model): found[name]} if name in found else {})
            if name == "caption_negated":
                accepted = manifest.rows_out
    return run.plan.input.rows, accepted, found


def doubted(asked: list[TextRequest]) -> list[TextRequest]:
    """What `validate_objects` would ask about these rows: it asks a model only when in doubt, and the rules' names leave none."""
    template = load_template("negbench/validate_objects")
    kept = ({name: value for name, value in request.chat.values.items() if name in ("caption", "objects")} for request in asked)
    return [replace(request, chat=Prompt(template, values)) for request, values in zip(asked, kept, strict=True)]


def varied(asked: list[TextRequest], rows: int) -> Iterator[TextRequest]:
    """So many requests; those that come again begin with another word, or a cache would know all of them."""
    for number in range(rows):
        request = asked[number % len(asked)]
        assert isinstance(request.chat, Prompt)
        values = dict(request.chat.values)
        first = next(name for name in ("caption", "sentence", "things") if name in values)
        if number >= len(asked):
            text = values[first]
            again = number // len(asked)
            values[first] = f"{again} {text}" if isinstance(text, str) else [f"{again} {text[0]}", *text[1:]]
        yield replace(request, chat=Prompt(request.chat.template, values), seed=request.seed + number)


class Tokens:
    """A chat as token ids."""

    def __init__(self) -> None:
        import mistral_common
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        self._tokenizer = Tekkenizer.from_file(next((Path(mistral_common.__file__).parent / "data").glob("tekken_*.json")))

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, bos=False, eos=False))

    def chat(self, messages: list[dict[str, str]]) -> list[int]:
        ids: list[int] = [-4]
        for message in messages:
            mark = ROLES[message["role"]]
            ids += [mark, mark, mark - 10, *self._tokenizer.encode(message["content"], bos=False, eos=False), -9]
        return [*ids, -3, -3, -13]


class Cache:
    """A prefix cache that forgets nothing: a block is known by all that comes before it. A prompt's last token is never taken."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def take(self, ids: list[int]) -> int:
        """How many tokens of a prompt were known; all of it is afterwards."""
        chain, known, hits = 0, True, 0
        for start in range(0, len(ids) - BLOCK + 1, BLOCK):
            chain = hash((chain, *ids[start : start + BLOCK]))
            known = known and chain in self._known and start + BLOCK < len(ids)
            hits += BLOCK if known else 0
            self._known.add(chain)
        return hits


def live(requests: list[TextRequest]) -> tuple[float, float]:
    """The share of the prompt tokens that a vLLM with a small random model took from its cache, and the share as worked out here.

    Its own tokenizer knows few words, so rows take more of the prompt than with a real one.
    """
    from models.tiny import build_llama, make_tokenizer
    from shardmill.models.text.vllm import VllmModel

    settings: dict[str, Any] = {"max_model_len": 4096, "enforce_eager": True, "gpu_memory_utilization": 0.05, "max_num_seqs": 2}
    folder = str(build_llama(Path(tempfile.mkdtemp()) / "llama"))
    model = VllmModel(model=folder, separate_process=False, **settings)
    asked = (
        replace(request, schema=None, sampling=Sampling(max_tokens=1), key=str(number)) for number, request in enumerate(requests)
    )
    usages = [reply.usage for reply in model.stream(asked)]
    cache, tokenizer = Cache(), make_tokenizer()
    chats = (request.chat.messages(request.seed) for request in requests)
    hits = [cache.take(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)) for chat in chats]
    prompt = sum(usage.prompt_tokens for usage in usages)
    return sum(usage.cached_tokens for usage in usages) / prompt, sum(hits) / prompt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--live", action="store_true", help="also ask a real vLLM, 300 prompts of each template")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", help="as that of `shardmill launch`")
    args = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"})
    tokens = Tokens()
    rows, accepted, stages = record(args.set)
    print(f"{'stage':18} requests/row  prompt  of it fixed  cached  answer   per input row: prompt  fresh  answer")
    sums = [0.0, 0.0, 0.0]
    for name, recording in stages.items():
        cache, total, hits = Cache(), 0, 0
        asked = recording.asked or (doubted(stages["propose_negatives"].asked) if name == "validate_objects" else [])
        if not asked:
            continue
        for request in varied(asked, args.rows):
            ids = tokens.chat(request.chat.messages(request.seed))
            total += len(ids)
            hits += cache.take(ids)
        chat = asked[0].chat.messages(asked[0].seed)
        fixed = len(tokens.chat(chat[:-1])) - 3
        answer = sum(map(tokens.count, recording.answers)) / max(len(recording.answers), 1)
        each, per_row = total / args.rows, len(recording.asked) / rows
        mine = [per_row * each, per_row * each * (1 - hits / total), per_row * answer]
        sums = [before + more for before, more in zip(sums, mine, strict=True)]
        figures = "  ".join(f"{value:6.0f}" for value in mine)
        print(
            f"{name:18} {per_row:12.2f}  {each:6.0f}  {fixed / each:11.0%}  {hits / total:6.1%}  {answer:6.1f}   {'':14}{figures}"
        )
    print(f"{'all':18} {'':64} {'  '.join(f'{value:6.0f}' for value in sums)}")
    print(f"uncached and answered: {sum(sums[1:]):.0f} tokens an input row, {sum(sums[1:]) * rows / accepted:.0f} a row accepted")
    if args.live:
        for name, recording in stages.items():
            by_counters, computed = live(list(varied(recording.asked or doubted(stages["propose_negatives"].asked), 300)))
            print(
                f"{name:18} 300 prompts in a live vLLM: {by_counters:.1%} cached by its own counters, {computed:.1%} as computed"
            )


if __name__ == "__main__":
    main()
