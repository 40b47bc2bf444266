"""Captioners behind any server that speaks OpenAI's chat completions with images."""

from __future__ import annotations

from shardmill.models.contract import CaptionRequest, Reply, TextRequest
from shardmill.models.openai_vision import VisionModel
from shardmill.models.sent_images import Geometry, ImageChat, SentImage


class OpenAICaptioner(VisionModel):
    """A captioner on one or several servers. All prompts about an image have the same beginning, which servers cache."""

    def chat_request(self, request: CaptionRequest, image: SentImage) -> TextRequest:
        given = [tiles for tiles in (request.max_tiles, self.settings.max_tiles) if tiles is not None]
        url = image.url(min(given) if given else None)
        chat = ImageChat("caption", self.settings.parts([url], request.prompt))
        return TextRequest(chat, request.sampling, key=request.key, seed=request.seed)

    def read(self, request: CaptionRequest, geometry: Geometry, reply: Reply) -> Reply:
        return reply
