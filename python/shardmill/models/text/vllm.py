"""Language models in a vLLM engine of the worker's own.

The engine never gets a batch: requests join it between steps and leave as they finish, so that the GPU waits neither for the
end of a batch nor for its longest answer. Where the names of settings are those of vLLM's `EngineArgs`, they mean the same.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from shardmill.models.contract import Reply, Request, TextRequest, Usage
from shardmill.models.failures import (
    ELSEWHERE,
    MAX_CAUSE,
    failure_message,
    is_permanent,
    log_size,
    logged_cause,
    startup_remedy,
)
from shardmill.models.settings import RemoteCodeSettings, SettingsModel, read_settings, require_model
from shardmill.models.text.schemas import choices_of, closed_schema, guided, make_probe
from shardmill.models.text.settings import TextSettings
from shardmill.models.text.vllm_loop import EngineLoop, EngineRejection, EngineRequest
from shardmill.models.text.vllm_plugin import PARENT
from shardmill.models.text.vllm_slot import take_engine_slot
from shardmill.models.weights import is_hub_name
from shardmill.util.errors import ModelDied, UserError

log = logging.getLogger("shardmill")

CACHE_SIZES = {"gpu_memory_utilization", "kv_cache_memory_bytes"}
"""Engine arguments that say how much memory to use."""
CPU_CACHE_BYTES, CPU_CACHE_SHARE = 8 << 30, 0.5
"""On a CPU a cache has at most so many bytes, and at most so much of what is free: vLLM would take 90 % of the whole memory."""


class VllmSettings(RemoteCodeSettings, TextSettings):
    """Settings of a vLLM model."""

    shaping = (*TextSettings.shaping, "dtype", "quantization", "max_model_len", "lora", "structured", "trust_remote_code")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: as the weights are")
    quantization: str | None = Field(default=None, description="awq, gptq, fp8, …; detected in quantised weights")
    max_model_len: int | None = Field(default=None, ge=16, description="prompt and answer together; less takes less memory")
    lora: str | None = Field(default=None, description="a LoRA adapter: a folder, or an id on the hub")
    max_lora_rank: int = Field(16, ge=1)
    structured: Literal["guidance", "xgrammar", "outlines", "none"] = Field(
        "guidance", description="constrains answers to a schema"
    )
    tensor_parallel_size: int | None = Field(default=None, ge=1, description="GPUs of one model (all that the worker has)")
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1, description="share of the GPU's memory to use")
    max_num_seqs: int | None = Field(default=None, ge=1, description="maximum concurrent sequences")
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    enforce_eager: bool = Field(False, description="no CUDA graphs: starts sooner, runs slower")
    separate_process: bool = Field(True, description="the engine in a process of its own, beside the stage's work")
    stall_minutes: float = Field(20, gt=0, description="maximum time of one engine step")
    engine: dict[str, Any] = Field({}, description="other arguments of vLLM's EngineArgs")

    @model_validator(mode="after")
    def _check_engine(self) -> VllmSettings:
        if "trust_remote_code" in self.engine:
            raise ValueError("trust_remote_code is a setting of its own, beside `revision`, and not one under `engine`")
        return self

    def hub_models(self) -> dict[str, str | None]:
        """As for any model, and the adapter."""
        return {**super().hub_models(), **({self.lora: None} if self.lora and is_hub_name(self.lora) else {})}

    def engine_args(self) -> dict[str, Any]:
        """The arguments of `EngineArgs`, but for those that are left to vLLM."""
        same = ("model", "revision", "dtype", "quantization", "max_model_len", "trust_remote_code", "tensor_parallel_size",
                "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")  # fmt: skip
        given = {name: value for name in same if (value := getattr(self, name)) is not None}
        if self.lora:
            given |= {"enable_lora": True, "max_lora_rank": self.max_lora_rank}
        if self.structured != "none":
            given["structured_outputs_config"] = {
                "backend": self.structured,
                "disable_any_whitespace": self.structured == "guidance",  # its schema says where blanks belong
            }
        return {"seed": 0, "enable_prefix_caching": True, "disable_log_stats": True, **given, **self.engine}


class VllmModel(SettingsModel):
    """A vLLM engine. Several threads may stream at the same time; their requests go through one engine."""

    Settings: ClassVar[type[VllmSettings]] = VllmSettings
    fills_gpu = many_streams = True

    def __init__(self, **settings: Any):
        self.settings = read_settings(self.Settings, settings)
        require_model(self.settings.model)
        _prepare_environment(self.settings)
        try:
            from vllm.engine.arg_utils import EngineArgs
            from vllm.lora.request import LoRARequest
        except ImportError as error:
            raise UserError(f"vLLM cannot be imported here ({error}); install it with: pip install 'shardmill[vllm]'") from error
        arguments = self.settings.engine_args()
        unknown = sorted(arguments.keys() - EngineArgs.__dataclass_fields__.keys())
        if unknown:
            raise UserError(f"vLLM has no engine argument {unknown[0]!r}; see the settings under `engine:` of the model")
        lora = LoRARequest("adapter", 1, self.settings.lora) if self.settings.lora else None
        started, logged = time.monotonic(), log_size()
        try:
            self._loop = EngineLoop(lambda: _build(arguments), self.settings.stall_minutes * 60, lora)
        except Exception as error:
            raise _startup_error(self.settings.model, error, logged) from error
        engine = self._loop.engine
        self._tokenizer = engine.get_tokenizer()
        self._max_model_len = engine.model_config.max_model_len
        self._max_in_flight = 2 * engine.vllm_config.scheduler_config.max_num_seqs
        if getattr(self._tokenizer, "chat_template", "-") is None:
            raise UserError(f"{self.settings.model} has no chat template; use an instruction-tuned model")
        self._schemas: dict[str, str] = {}
        self._probe_constraint()
        log.info("vLLM has %s after %.0f s", self.settings.model, time.monotonic() - started)

    def close(self) -> None:
        """End the engine and free its GPUs."""
        self._loop.close()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. The engine has twice as many requests as it can run, so that it never runs out of work."""
        outputs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        in_flight: dict[str, float] = {}
        source = iter(requests)
        try:
            while True:
                while len(in_flight) < self._max_in_flight and (request := next(source, None)) is not None:
                    try:
                        engine_request = self.engine_request(request, outputs)
                    except UnusableRequest as problem:
                        yield Reply(request.key, "", "unusable", str(problem), problem.detail)
                        continue
                    in_flight[request.key] = time.monotonic()
                    self._loop.add_request(engine_request)
                if not in_flight:
                    return
                if (output := self._next_output(outputs)) is None:
                    return
                yield self._reply(output, in_flight)
        finally:
            self._loop.abort_requests(outputs, set(in_flight))

    def _next_output(self, outputs: queue.SimpleQueue[Any]) -> Any:
        try:
            return self._loop.wait_for_output(outputs)
        except ModelDied as died:
            raise ModelDied(failure_message(f"the vLLM engine of {self.settings.model}", str(died))) from died

    def _reply(self, outcome: Any, in_flight: dict[str, float]) -> Reply:
        if isinstance(outcome, EngineRejection):
            del in_flight[outcome.key]
            return Reply(outcome.key, "", "unusable", "refused by the engine", outcome.problem[:2000])
        key, output = outcome
        best = output.outputs[0]
        seconds = time.monotonic() - in_flight.pop(key)
        usage = Usage(len(output.prompt_token_ids or ()), output.num_cached_tokens or 0, len(best.token_ids), seconds)
        if best.finish_reason in ("stop", "length"):
            return Reply(key, best.text, best.finish_reason, usage=usage)
        return Reply(key, best.text, "error", "engine error", f"the engine ended the request: {best.finish_reason}", usage)

    def engine_request(self, request: Any, outputs: queue.SimpleQueue[Any]) -> EngineRequest:
        """A request as the engine takes it. Raises UnusableRequest for one that it never can."""
        assert isinstance(request, TextRequest)
        ids = self.settings.prompt_of(request, self._tokenizer)
        room = self._max_model_len - len(ids)
        if room < 1:
            raise UnusableRequest("prompt too long", f"{len(ids)} tokens; the model takes {self._max_model_len}")
        return EngineRequest(request.key, {"prompt_token_ids": ids}, self.sampling_params(request, room, request.schema), outputs)

    def sampling_params(self, request: Any, room: int, schema: Mapping[str, Any] | None = None) -> Any:
        """How the engine samples the answer to a request, in at most `room` tokens."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        sampling = self.settings.sampling_of(request)
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=min(sampling.max_tokens, room),
            stop=list(sampling.stop),
            seed=request.seed if sampling.temperature > 0 else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=self._constraint(schema),
        )

    def _constraint(self, schema: Mapping[str, Any] | None) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        if schema is None or self.settings.structured == "none":
            return None
        if choices := choices_of(schema):
            return StructuredOutputsParams(choice=choices)
        closed = closed_schema(schema) or schema  # an open schema lets a model add fields without end
        text = json.dumps(guided(closed) if self.settings.structured == "guidance" else closed)
        if text not in self._schemas:
            self._schemas[text] = _schema_problem(text)
        if self._schemas[text]:
            raise UnusableRequest("impossible schema", self._schemas[text])
        return StructuredOutputsParams(json=text)

    def _probe_constraint(self) -> None:
        """Check that the engine constrains answers: it must answer a code that only the schema names, and not the prompt."""
        if self.settings.structured == "none":
            return
        secret, request = make_probe()
        reply = next(self.stream([request]), None)
        if reply is None:  # the worker is to stop
            return
        if secret not in str(reply.result):
            raise UserError(
                f"{self.settings.model} is not constrained to JSON schemas by {self.settings.structured}: for one code it gave "
                f"{str(reply.result)[:60]!r} ({reply.finish} {reply.detail}); set structured: xgrammar, or none to do without"
            )


class UnusableRequest(Exception):
    """A request that the engine can never answer."""

    def __init__(self, problem: str, detail: str):
        super().__init__(problem)
        self.detail = detail


def _schema_problem(schema: str) -> str:
    """Why a JSON schema cannot be compiled; empty if it can. The engine itself would die of one that cannot."""
    from llguidance import LLMatcher

    return str(LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(schema)))


def _prepare_environment(settings: VllmSettings) -> None:
    """Set what vLLM reads from the environment."""
    os.environ.update(take_engine_slot())
    for name, value in {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}.items():
        os.environ.setdefault(name, value)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if settings.separate_process else "0"
    os.environ[PARENT] = str(os.getpid())


def _build(arguments: dict[str, Any]) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.llm_engine import LLMEngine

    gpus = 0 if current_platform.is_cpu() else current_platform.device_count()
    if current_platform.is_cpu():
        arguments = with_cpu_cache(arguments)
    return LLMEngine.from_engine_args(EngineArgs(**{"tensor_parallel_size": max(gpus, 1), **arguments}))


def with_cpu_cache(arguments: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments for a CPU: with a size of the cache that fits what is free, unless one is given."""
    import psutil

    if CACHE_SIZES & arguments.keys() or os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        return arguments
    free = int(CPU_CACHE_SHARE * psutil.virtual_memory().available)
    return {**arguments, "kv_cache_memory_bytes": min(CPU_CACHE_BYTES, free)}


def _startup_error(model: str, error: Exception, logged: int) -> Exception:
    """What to raise for an engine that could not start; `logged` is how long the worker's log was before it tried."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    if any(sign in cause for sign in ELSEWHERE):
        cause = logged_cause(start=logged) or cause
    if is_permanent(cause):
        return UserError(f"vLLM cannot load {model}: {cause[:MAX_CAUSE]}{startup_remedy(cause)}")
    return ModelDied(failure_message(f"the vLLM engine of {model}", cause))
