"""The settings that all text engines share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shardmill.models.contract import CaptionRequest, Sampling, TextRequest
from shardmill.models.settings import ModelSettings
from shardmill.util.errors import UserError


class SamplingOverride(BaseModel):
    """Sampling values by which a model differs from the template."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)


class TextSettings(ModelSettings):
    """The settings of a text model, as a model file has them. Those in `shaping` are part of a stage's fingerprint."""

    shaping: ClassVar[tuple[str, ...]] = (*ModelSettings.shaping, "sampling", "system_role", "chat_template_kwargs")

    sampling: SamplingOverride = Field(SamplingOverride(), description="sampling values that replace the template's")
    system_role: bool = Field(True, description="false for models whose chat template knows no system role")
    chat_template_kwargs: dict[str, Any] = Field({}, description="for the chat template, e.g. enable_thinking: false")

    def sampling_of(self, request: TextRequest | CaptionRequest) -> Sampling:
        """The sampling of a request with this model's overrides."""
        return replace(request.sampling, **self.sampling.model_dump(exclude_none=True))

    def messages_of(self, request: TextRequest) -> list[dict[str, Any]]:
        """The chat of a request, the system text put before the first user turn for a model that knows no system role."""
        messages = request.chat.messages(request.seed)
        if self.system_role or not messages or messages[0]["role"] != "system":
            return messages
        system, first, *rest = messages
        return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]

    def prompt_of(self, request: TextRequest, tokenizer: Any) -> list[int]:
        """The token ids of a request's chat by the chat template of a Hugging Face tokenizer. Raises UserError if that fails."""
        messages = self.messages_of(request)
        try:
            ids = tokenizer.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True, return_dict=False, **self.chat_template_kwargs
            )
        except Exception as error:  # a chat template is the model's own program and may raise anything
            hint = "; does it know a system role? if not, set system_role: false" if self.system_role else ""
            raise UserError(f"the chat template of {self.model} fails: {error}{hint}") from error
        return list(ids)
