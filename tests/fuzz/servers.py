"""What servers send, and what a run folder says: whole responses, from the socket to the report."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzz.guard import allowing
from fuzz.hostile import LITTLE, damaged, million, mostly, pick, some_bytes, texts, values
from fuzz.target import Target, settled
from shardmill.core.planning import NewRun, start_run
from shardmill.core.prompts import Prompt, parse_template
from shardmill.core.shard_runner import run_shard
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, Sampling, TextRequest
from shardmill.models.servers import live_servers
from shardmill.models.text.key_redaction import REPLACEMENT, redact
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_errors import MAX_RETRY_AFTER, read_error
from shardmill.models.text.openai_replies import MAX_TOKENS, ErrorReply, MalformedReply, read_reply
from shardmill.monitor.status import read_status
from shardmill.quality.gather import gather
from shardmill.store.manifest import read_manifest
from shardmill.store.plan import NAME, load_plan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import Stopped

SECRET, VARIABLE = "sk-f/u%zz_K3y&1", "SHARDMILL_FUZZ_KEY"
GOOD = {"objects": ["dog", "kite"]}
NUMBERS: list[Any] = [0, -1, 3, 10**400, 2**63, 1e308, True, None, "7", [], {}, "NaN"]
STAGE = "extract_objects"
LIMIT = 4_000


def reply_of(body: bytes) -> Reply:
    """The reply in a body; what a client makes of one that is none."""
    try:
        return read_reply("k", body, 0.1)
    except (MalformedReply, ErrorReply) as error:
        return Reply("k", "", "error", "server error", str(error)[:600])


def bodies(case: bytes, folder: Path) -> None:
    """A body is a reply of which everything is typed and bounded, or is told apart."""
    reply = reply_of(case)
    assert isinstance(reply.result, str) and reply.finish in ("stop", "length", "error", "unusable")
    reply.result.encode("utf-8")
    usage = reply.usage
    for number in (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens):
        assert type(number) is int and 0 <= number <= MAX_TOKENS
    assert all(note.isprintable() and len(note) < 60 for note in usage.notes) and len(reply.problem) < 60


def errors(case: tuple[int, bytes, dict[str, str]], folder: Path) -> None:
    """An error has one line of a message, and a pause that can be waited for."""
    error = read_error(*case)
    assert len(error.message) < 700 and "\n" not in error.message
    assert error.retry_after is None or 0 <= error.retry_after <= MAX_RETRY_AFTER
    assert error.why_unusable and error.refused_parameter(("seed", "top_p")) in (None, "seed", "top_p")


def keys(case: tuple[str, str, str], folder: Path) -> None:
    """A message without the key's beginning stays as it is; one with the key in any form loses it."""
    before, form, after = case
    if SECRET[:8] not in before + after:
        assert SECRET[:8] not in redact(before + form + after, SECRET)
        assert REPLACEMENT in redact(f"{before} {form} {after}", SECRET)
    assert redact(before, "-") == before


class Hostile(Model):
    """Answers each request with the next of `bodies`, as a client hands them out."""

    bodies: ClassVar[list[bytes]] = []
    given: ClassVar[int] = 0

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            reply = reply_of(Hostile.bodies[Hostile.given % len(Hostile.bodies)])
            Hostile.given += 1
            yield Reply(request.key, reply.result, reply.finish, reply.problem, reply.detail, reply.usage)


def to_the_end(case: tuple[list[bytes], int], folder: Path) -> None:
    """Whole answers go through journal, a stop, a resume, part, rejects, manifest, status and report, and no row is lost."""
    Hostile.bodies, stop_at = case
    Hostile.given = 0
    registry.MODELS["text", "hostile"] = f"{__name__}:Hostile"
    table = folder / "t.csv"
    table.write_text("caption\n" + "".join(f"A dog and a kite number {number}\n" for number in range(6)))
    settings = (f"{STAGE}.model=hostile",)
    run = start_run(folder / "run", NewRun(table, settings=settings, num_shards=1))
    looks = iter(range(1_000))
    try:
        run_shard(run, STAGE, 0, should_stop=lambda: next(looks) > stop_at)
    except Stopped:
        run_shard(run, STAGE, 0)
    files = run.files(STAGE, 0)
    manifest = read_manifest(files.manifest)
    assert manifest is not None and manifest.conserved() and manifest.rows_in == 6
    assert run.read_part(STAGE, 0)[0].height == manifest.lines_out
    rejects = files.rejects.read_text("utf-8")
    assert "\0" not in rejects
    status = read_status(RunFolder(run.path))
    json.dumps(status.to_dict(), allow_nan=False)
    gather(RunFolder(run.path), rows=3).model_dump_json()


class Wire:
    """A server on a socket that answers each connection with the same bytes, whatever it is asked."""

    _kept: ClassVar[list[Wire]] = []

    def __init__(self) -> None:
        self.says = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @classmethod
    def shared(cls) -> Wire:
        if not cls._kept:
            cls._kept.append(cls())
        return cls._kept[0]

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(1)
                try:
                    while b"\r\n\r\n" not in (asked := connection.recv(65_536)) and asked:
                        continue
                    connection.sendall(self.says)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        continue
                except OSError:
                    continue


PROMPT = Prompt(parse_template("Say {{ caption }}", "a test", name="t"), {"caption": "a dog"})


def wire(case: bytes, folder: Path) -> None:
    """Whatever comes over a connection is a reply or one clear error, and the key gets into neither."""
    server = Wire.shared()
    server.says = case
    os.environ[VARIABLE] = SECRET
    with allowing("socket.connect"):
        where = f"http://127.0.0.1:{server.port}/v1"
        model = OpenAIModel(model="m", base_urls=[where], key_variable=VARIABLE, tries=1, wait_minutes=0.002, timeout_seconds=2)
        try:
            request = TextRequest(PROMPT, Sampling(), None, "k")
            state, found = settled(lambda: list(model.stream([request])))
        finally:
            model.close()
    assert SECRET[:8] not in str(found)
    if state == "value":
        (reply,) = found
        assert reply.key == "k" and len(reply.detail) < LIMIT


def plans(case: bytes, folder: Path) -> None:
    """A plan is one, or is refused with a line; nothing in it leads out of the run's folder."""
    run = folder / "run"
    run.mkdir()
    (run / NAME).write_bytes(case)
    opened = RunFolder(run)
    plan = load_plan(run)
    for stage in opened.stages:
        assert opened.folder(stage).resolve().parent == run.resolve()
        assert opened.files(stage, 0).part.resolve().is_relative_to(run.resolve())
    assert plan.shards


def announcements(case: list[tuple[str, bytes]], folder: Path) -> None:
    """A folder of announcements gives servers or nothing, and reads no file but those in it."""
    for number, (name, data) in enumerate(case):
        (folder / f"{number}{name}").write_bytes(data)
    for server in live_servers(folder):
        assert server.url.startswith(("http://", "https://")) and server.key is None


def _messages(content: SearchStrategy[Any], finish: SearchStrategy[Any]) -> SearchStrategy[Any]:
    number = st.sampled_from(NUMBERS) | values()
    usage = st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_tokens_details"]),
        number | number.map(lambda value: {"cached_tokens": value}),
    )
    choice = st.fixed_dictionaries(
        {"message": st.fixed_dictionaries({"content": content}, optional={"refusal": values(), "reasoning_content": values()})},
        optional={"finish_reason": finish},
    )
    return st.fixed_dictionaries({"choices": st.lists(choice, min_size=1, max_size=2)}, optional={"usage": usage | values()})


_CONTENT = st.one_of(
    st.just(json.dumps(GOOD)),
    million(texts(halves=True)),
    values(halves=True),
    values(halves=True).map(json.dumps),
    st.lists(
        st.fixed_dictionaries({"type": pick(["text", "thinking", "x"])}, optional={"text": texts(3, halves=True)}), max_size=3
    ),
)
_FINISH = st.sampled_from(["stop", "length", "eos_token", "content_filter", "SAFETY", None, [], {}, 3]) | texts(2)
_COMPLETIONS = _messages(_CONTENT, _FINISH)
_BODY = st.one_of(
    _COMPLETIONS.map(lambda value: json.dumps(value).encode()),
    damaged(_COMPLETIONS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))),
    st.tuples(_COMPLETIONS, st.sampled_from(["utf-8-sig", "utf-16", "utf-32"])).map(
        lambda pair: json.dumps(pair[0]).encode(pair[1])
    ),
    values().map(lambda value: json.dumps({"error": value}).encode()),
    values(halves=True).map(lambda value: json.dumps(value).encode()),
    some_bytes([b"[" * 5_000, b'{"choices":', b"9" * 5_000, b"\xff\xfe", b"\0"]),
)
_SIGNS = [
    "Unsupported parameter: 'seed'",
    "maximum context length",
    "try again in 9s",
    "flagged",
    "retry in 99999999 min",
    "quota",
]
_ERROR = st.one_of(
    st.fixed_dictionaries(
        {"error": values() | st.dictionaries(pick(["message", "code", "type", "param"]), pick(_SIGNS) | values())}
    ),
    values(),
).map(lambda value: json.dumps(value).encode())
_DATES = [
    "Wed, 21 Oct 10000000000000000000 07:28:00 GMT",
    "Wed, 21 Oct 2015 99:99:99 +99999999999",
    "-1",
    "1e999",
    "nan",
    "9" * 400,
]
_HEADERS = st.dictionaries(st.sampled_from(["Retry-After", "retry-after-ms"]), pick(_DATES) | LITTLE)
_FORMS = [
    SECRET,
    json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "".join(f"\\u{ord(letter):04x}" for letter in SECRET),
    "".join(f"%{ord(letter):02x}" for letter in SECRET),
]


def _framed(part: tuple[str, list[str], bytes, str]) -> bytes:
    """A response with a body in one of the ways in which bodies are sent."""
    status, lines, body, how = part
    head = [f"HTTP/1.1 {status}", *lines]
    if how == "chunked":
        head.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif how in ("gzip", "deflate"):
        body = gzip.compress(body) if how == "gzip" else zlib.compress(body)
        head += [f"Content-Encoding: {how}", f"Content-Length: {len(body)}"]
    elif how == "bomb":
        body = gzip.compress(b"0" * 40_000_000, 1)
        head += ["Content-Encoding: gzip", f"Content-Length: {len(body)}"]
    elif how == "length":
        head.append(f"Content-Length: {len(body)}")
    elif how == "lies":
        head.append(f"Content-Length: {len(body) + 7}")
    return "\r\n".join(head).encode("utf-8", "replace") + b"\r\n\r\n" + body


_STATUS = st.sampled_from(["200 OK", "200", "400 No", "401 No", "403 No", "429 Slow", "500 No", "999 X", "", SECRET, "-1 x"])
_LINES = st.lists(
    st.sampled_from(
        [f"X: {SECRET}", f"{SECRET}", "X" * 9_000, "Retry-After: 9", "Content-Type: text/html", "Location: http://x/"]
    )
    | st.tuples(LITTLE, LITTLE).map(": ".join),
    max_size=3,
)
_HOW = st.sampled_from(["chunked", "gzip", "deflate", "length", "length", "lies", "none", "bomb"])
_WIRE = st.tuples(_STATUS, _LINES, _BODY | _ERROR | st.just(f'{{"error": "{SECRET}"}}'.encode()), _HOW).map(_framed)
_PLANS: list[bytes] = []


def _plan() -> bytes:
    """The plan of a small run, made once."""
    if not _PLANS:
        with TemporaryDirectory() as folder:
            table = Path(folder) / "t.csv"
            table.write_text("caption\nA dog and a kite\n")
            _PLANS.append((start_run(Path(folder) / "run", NewRun(table)).path / NAME).read_bytes())
    return _PLANS[0]


def _changed(edits: list[tuple[float, Any]]) -> bytes:
    """The plan with some of its values replaced."""
    plan = json.loads(_plan())
    for share, other in edits:
        _replace(plan, share, other)
    return json.dumps(plan).encode()


def _replace(node: Any, share: float, other: Any) -> None:
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if keys:
        key = keys[int(share * len(keys)) % len(keys)]
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and share * 997 % 1 > 0.25:
            _replace(inner, share * 997 % 1, other)
        else:
            node[key] = other


_EDITS = st.lists(
    st.tuples(st.floats(0, 0.999), values() | pick(["../outside", "/etc", "a/b", "", ".", "\0", 10**400, -1])), max_size=4
)
_SERVERS = st.fixed_dictionaries(
    {"url": pick(["http://127.0.0.1:1/v1", "file:///etc/passwd", "http://a@b/v1", "x"]) | LITTLE, "model": texts(2)},
    optional={"node": LITTLE, "pid": values(), "job": LITTLE, "started": LITTLE, "key_file": pick(["/etc/passwd", "../x"])},
).map(lambda value: json.dumps(value).encode())

TARGETS = [
    Target("server-bodies", _BODY, bodies),
    Target("server-errors", st.tuples(st.integers(100, 999), _ERROR | _BODY, _HEADERS), errors),
    Target("keys-in-messages", st.tuples(LITTLE, pick(_FORMS), LITTLE), keys),
    Target("answers-to-the-end", st.tuples(st.lists(_BODY, min_size=1, max_size=4), st.integers(0, 12)), to_the_end),
    Target("responses-on-the-wire", mostly(_WIRE, damaged(_WIRE), share=3), wire),
    Target("plans", st.one_of(_EDITS.map(_changed), damaged(st.builds(_plan))), plans),
    Target(
        "announcements",
        st.lists(st.tuples(pick([".json", ".json", ".key", ""]), _SERVERS | damaged(_SERVERS)), max_size=4),
        announcements,
    ),
]
