"""Images per second of the detectors and the text-to-image model, beside the models alone and the originals' loops.

For each model one row: (a) end to end through our engine, from JPEG files or to them; (b) the model alone: the same weights,
dtype and batch size, tensors on the device, texts encoded; (c) a loop as NegBench (OWL-ViT) or Antidote (Grounding DINO, SD3)
runs it. The three take turns; reported are the medians. The weights are random and of real size, so this needs no network.
The aims are for one H200.

    python tests/bench/vision.py [--only owl|dino|sd3] [--images 2000] [--repeats 3]
    python tests/bench/vision.py --small      # tiny models, to try the bench itself on any machine
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from PIL import Image, ImageOps
from transformers.modeling_outputs import BaseModelOutput

from bench.vision_models import (
    DEVICE,
    VOCABULARY,
    as_antidote,
    as_antidote_generates,
    as_negbench,
    photos,
    save_grounding_dino,
    save_owl,
    save_sd3,
)
from models.tiny_detectors import build_grounding_dino, build_owl
from models.tiny_diffusion import build_sd3
from shardmill.models.contract import DetectRequest, GenerateRequest
from shardmill.models.detect.grounding_dino import GroundingDinoDetector
from shardmill.models.detect.owl import OwlDetector
from shardmill.models.detect.phrases import padded
from shardmill.models.generate.diffusers import DiffusersGenerator

NAMES_PER_IMAGE = 12
FORWARDS = 5 if DEVICE == "cuda" else 1
"""Of the model alone in each turn, on each size of image."""
NEGATIVE = "low quality, over-smooth, bad anatomy, extra fingers"


@dataclass
class Subject:
    """A model in its three runs, each of which gives images per second; the aims for (a)/(b) and (a)/(c), and a note."""

    name: str
    runs: dict[str, Callable[[], float]]
    aims: tuple[float | None, float | None]
    notes: Callable[[], str]


@dataclass
class Measured:
    """The images per second of a model in each repeat of its runs, and its aims."""

    name: str
    rates: dict[str, list[float]]
    aims: tuple[float | None, float | None]


def main() -> None:
    args = _arguments()
    measured = []
    with tempfile.TemporaryDirectory(prefix="vision-bench-") as temporary:
        folder = Path(temporary)
        files = photos(folder / "photos", args.images) if args.only != "sd3" else []
        _introduce(args, files)
        for name, make in {"owl": owl, "dino": dino, "sd3": sd3}.items():
            if args.only in (None, name):
                measured.append(_measure(make(args, folder, files), args.repeats))
                gc.collect()
                torch.cuda.empty_cache()
    print("\n" + "\n".join(_table(measured, real=DEVICE == "cuda" and not args.small)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["owl", "dino", "sd3"])
    parser.add_argument("--small", action="store_true", help="tiny models and few images, for a machine without a GPU")
    parser.add_argument("--images", type=int, help="photos for the detectors; 2000, or 96 with --small")
    parser.add_argument("--generated", type=int, help="images to generate in each turn; 32, or 16 with --small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64, help="most photos at a time")
    parser.add_argument("--generate-batch", type=int, default=8, help="generated images at a time")
    parser.add_argument("--pixels", type=int, help="width and height of generated images; 1024, or 64 with --small")
    parser.add_argument("--steps", type=int, help="denoising steps; 28, or 2 with --small")
    parser.add_argument("--t5", action=argparse.BooleanOptionalAction, default=False, help="with SD3's T5-XXL, 10 GB more")
    args = parser.parse_args()
    for name, (real, small) in {"images": (2000, 96), "generated": (32, 16), "pixels": (1024, 64), "steps": (28, 2)}.items():
        if getattr(args, name) is None:
            setattr(args, name, small if args.small else real)
    return args


def owl(args: argparse.Namespace, folder: Path, files: Sequence[str]) -> Subject:
    """OWL-ViT-B/32, NegBench's filter."""
    path = (build_owl if args.small else save_owl)(folder / "owl")
    detector = OwlDetector(model=str(path), max_batch_size=args.batch)
    asked = _asked(files)
    rows = _rows_of(detector)
    some = asked[: 16 if args.small else 192]
    runs = {
        "ours": lambda: _through(detector, asked, rows),
        "alone": lambda: _owl_alone(detector, asked, detector._batches.size.rows),
        "original": as_negbench(path, some),
    }
    return Subject(
        "OWL-ViT-B/32", runs, (0.8, 15), lambda: _notes(detector, rows, lambda most: _owl_alone(detector, asked, most))
    )


def dino(args: argparse.Namespace, folder: Path, files: Sequence[str]) -> Subject:
    """Grounding DINO with Swin-T, in Antidote's place of Swin-B."""
    path = (build_grounding_dino if args.small else save_grounding_dino)(folder / "dino")
    sides = (96, 192) if args.small else (800, 1333)
    detector = GroundingDinoDetector(model=str(path), short_side=sides[0], long_side=sides[1], max_batch_size=args.batch)
    asked = _asked(files)
    rows = _rows_of(detector)
    some = asked[: 8 if args.small else 40]
    runs = {
        "ours": lambda: _through(detector, asked, rows),
        "alone": lambda: _dino_alone(detector, asked, detector._batches.size.rows),
        "original": as_antidote(path, some, *sides),
    }
    return Subject(
        "Grounding DINO-T", runs, (0.9, 6), lambda: _notes(detector, rows, lambda most: _dino_alone(detector, asked, most))
    )


def sd3(args: argparse.Namespace, folder: Path, _: Sequence[str]) -> Subject:
    """Stable Diffusion 3 medium, Antidote's text-to-image model."""
    path = (build_sd3 if args.small else save_sd3)(folder / "sd3", t5=args.t5)
    size = {"width": args.pixels, "height": args.pixels}
    as_original = {**size, "num_inference_steps": args.steps, "guidance_scale": 7.5}
    compiled = DEVICE == "cuda" and not args.small
    most = args.generate_batch
    generator = DiffusersGenerator(
        model=str(path), **size, steps=args.steps, guidance=7.5, max_batch_size=most, compile=compiled, drop_t5=not args.t5
    )  # fmt: skip
    rng = Random(0)
    prompts = [f"a {one}, a {two}" for one, two in (rng.sample(VOCABULARY, 2) for _ in range(args.generated))]
    runs = {
        "ours": lambda: _generated(generator, prompts, Path(tempfile.mkdtemp(dir=folder))),
        "alone": lambda: _denoised(generator, prompts[:most], args.steps),
        "original": as_antidote_generates(path, prompts[:4], NEGATIVE, as_original, folder),
    }
    how = "compiled" if compiled else "not compiled"
    note = f"batches of {most}, {generator._dtype}, {how}, T5 {'in' if args.t5 else 'left out'}"
    return Subject("SD3-medium", runs, (0.9, None), lambda: note)


def _measure(subject: Subject, repeats: int) -> Measured:
    rates: dict[str, list[float]] = {name: [] for name in subject.runs}
    for turn in range(repeats + 1):
        for name, run in subject.runs.items():
            rate = run()
            if turn:  # the first is a warm-up: sizes of batches are found, kernels chosen, models compiled
                rates[name].append(rate)
    print(f"{subject.name}: {subject.notes()}", flush=True)
    return Measured(subject.name, rates, subject.aims)


def _introduce(args: argparse.Namespace, files: Sequence[str]) -> None:
    import diffusers
    import transformers

    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU"
    cores = len(os.sched_getaffinity(0))
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}"
    print(f"{device}, {cores} cores, {versions}; {args.repeats} repeats after a warm-up")
    if files:
        size = sum(map(os.path.getsize, files)) / len(files) / 1000
        print(f"{len(files)} photos of {size:.0f} kB in the mean, {NAMES_PER_IMAGE} names each")
    if args.only in (None, "sd3"):
        print(f"{args.generated} images of {args.pixels} px in {args.steps} steps")


def _table(measured: Sequence[Measured], real: bool) -> list[str]:
    line = "{:18}{:>26}{:>30}{:>26}{:>9}{:>6}{:>9}{:>6}"
    lines = [line.format("images/s", "(a) ours", "(b) model alone", "(c) original", "(a)/(b)", "aim", "(a)/(c)", "aim")]
    for each in measured:
        middle = {name: statistics.median(rates) for name, rates in each.rates.items()}
        cells = [
            f"{_figure(middle[name])} ({_figure(min(rates))} to {_figure(max(rates))})" for name, rates in each.rates.items()
        ]
        for other, aim in zip(("alone", "original"), each.aims, strict=True):
            ratio = middle["ours"] / middle[other]
            met = " met" if aim and ratio >= aim else " missed"
            cells += [f"{ratio:.2f}", f"{aim:g}{met if real else ''}" if aim else "none"]
        lines.append(line.format(each.name, *cells))
    if not real:
        lines.append("The ratios mean something only with models of real size on a GPU: this run shows that the bench works.")
    return lines


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _asked(files: Sequence[str]) -> list[DetectRequest]:
    rng = Random(0)
    return [DetectRequest(file, tuple(rng.sample(VOCABULARY, NAMES_PER_IMAGE)), file) for file in files]


def _rows_of(detector: Any) -> Counter[int]:
    """How many batches of each size the detector runs from now on, kept up to date."""
    rows: Counter[int] = Counter()
    run = detector.run

    def counted(requests: Sequence[DetectRequest], prepared: Any) -> Any:
        rows[len(requests)] += 1
        return run(requests, prepared)

    detector.run = counted
    return rows


def _notes(detector: Any, rows: Counter[int], alone: Callable[[int], float]) -> str:
    """How full the engine's batches were, and whether larger ones would be faster."""
    size = detector._batches.size
    mean = sum(count * number for count, number in rows.items()) / rows.total()
    dtype = str(next(detector._model.parameters()).dtype).removeprefix("torch.")
    decoder = "the GPU" if detector._on_gpu else "Pillow"
    note = f"batches of up to {size.rows}, {mean:.1f} in the mean, {dtype}, JPEG decoded by {decoder}"
    if size.rows < detector.settings.max_batch_size and DEVICE == "cuda":
        try:
            note += f"; alone with {detector.settings.max_batch_size} at a time: {alone(detector.settings.max_batch_size):.1f}/s"
        except torch.OutOfMemoryError:
            note += f"; {detector.settings.max_batch_size} at a time do not fit"
    return note


def _through(model: Any, asked: Sequence[Any], rows: Counter[int] | None = None) -> float:
    """Pictures per second of a stream; afterwards `rows` counts the batches of this one alone."""
    if rows is not None:
        rows.clear()
    started = time.perf_counter()
    replies = list(model.stream(asked))
    seconds = time.perf_counter() - started
    failed = [reply for reply in replies if reply.finish != "stop"]
    if failed or len(replies) != len(asked):
        raise SystemExit(f"{len(replies)} replies to {len(asked)} requests, {len(failed)} failed: {failed[:1]}")
    return len(replies) / seconds


def _generated(generator: DiffusersGenerator, prompts: Sequence[str], folder: Path) -> float:
    asked = [GenerateRequest(prompt, NEGATIVE, str(folder), str(number), number) for number, prompt in enumerate(prompts)]
    return _through(generator, asked)


def _seconds(work: Callable[[], Any], times: int) -> float:
    """Seconds that `work` takes on the device, in the mean; it has run once before."""
    with torch.no_grad():  # as diffusers has it: a model compiled for that is not compiled again
        work()
        _wait()
        started = time.perf_counter()
        for _ in range(times):
            work()
        _wait()
    return (time.perf_counter() - started) / times


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _owl_alone(detector: OwlDetector, asked: Sequence[DetectRequest], rows: int) -> float:
    """Pictures per second of image tower and heads, for queries that are encoded."""
    batch = [asked[row % len(asked)] for row in range(rows)]
    prepared = detector.prepare(batch, [detector.load(request) for request in batch])
    with torch.no_grad():
        queries, named = detector._encoded(prepared.names)

    def forward() -> Any:
        features = detector._to_features(prepared.pixels)[0]
        places = features.flatten(1, 2)
        return detector._model.class_predictor(places, queries, named), detector._model.box_predictor(places, features)

    return rows / _seconds(forward, FORWARDS)


class _Read(torch.nn.Module):
    """Stands in for a text encoder whose output is known."""

    def __init__(self, hidden: Any):
        super().__init__()
        self.hidden = hidden

    def forward(self, *_: Any, **__: Any) -> Any:
        return BaseModelOutput(last_hidden_state=self.hidden)


def _dino_alone(detector: GroundingDinoDetector, asked: Sequence[DetectRequest], rows: int) -> float:
    """Images per second of all but the text encoder, over as many images of each size as there are requests."""
    by_size: dict[Any, list[DetectRequest]] = {}
    for request in asked:
        with Image.open(request.image) as image:
            width, height = ImageOps.exif_transpose(image).size
        by_size.setdefault(detector.settings.scaled(width, height), []).append(request)
    seconds = 0.0
    model = detector._model.model
    for same in by_size.values():
        batch = [same[row % len(same)] for row in range(rows)]
        prepared = detector.prepare(batch, [detector.load(request) for request in batch])
        ids, mask = padded(prepared.names, detector._pad, detector.device)
        with torch.no_grad():
            detector.detect(prepared)  # encodes the texts
            model.text_backbone = _Read(detector._text(ids))
        forward = partial(detector._model, pixel_values=prepared.pixels, input_ids=ids, attention_mask=mask)
        seconds += _seconds(forward, FORWARDS) / rows * len(same)
        model.text_backbone = detector._text
    return len(asked) / seconds


def _denoised(generator: DiffusersGenerator, prompts: Sequence[str], steps: int) -> float:
    """Pictures per second of the denoising model: all steps, with and without prompt, and nothing else."""
    read = generator._prompts.encode([generator._prompts.prepare(prompt, NEGATIVE) for prompt in prompts])
    hidden = torch.cat([read["negative_prompt_embeds"], read["prompt_embeds"]])
    pooled = torch.cat([read["negative_pooled_prompt_embeds"], read["pooled_prompt_embeds"]])
    side = generator.settings.width // generator._pipe.vae_scale_factor
    channels = generator._pipe.transformer.config.in_channels
    latents = torch.randn(len(hidden), channels, side, side, dtype=hidden.dtype, device=hidden.device)
    step = torch.full((len(hidden),), 500.0, device=hidden.device)
    given = {"hidden_states": latents, "timestep": step, "encoder_hidden_states": hidden, "pooled_projections": pooled}
    forward = partial(generator._pipe.transformer, **given, joint_attention_kwargs=None, return_dict=False)
    return len(prompts) / _seconds(lambda: [forward() for _ in range(steps)], 1)


if __name__ == "__main__":
    main()
