"""A report's page is one file that loads nothing, runs nothing but its own script, and shows data as text whatever it holds."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from report_samples import HOSTILE, sample_report, save_image
from shardmill.pages.cards import BoxView
from shardmill.pages.charts import FigureTable, TableRow
from shardmill.pages.gallery import drawn_boxes
from shardmill.pages.html import figure, number
from shardmill.quality.model import Fix, ModelUse, QualityFinding, Report, RowExample
from shardmill.quality.page import headline, report_page, write_report

VOID = {"meta", "br", "hr", "img", "input", "link", "image", "path", "circle", "rect", "line", "use"}


class Parsed(HTMLParser):
    """The elements, their attributes and the texts of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._inside: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.texts.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for each, attrs in self.elements if each == tag and name in attrs]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_image(tmp_path / "scene.png")


def test_the_page_loads_nothing_from_elsewhere(picture: Path) -> None:
    page = report_page(sample_report(picture))
    parsed = Parsed(page)
    addresses = [(tag, value) for tag, attrs in parsed.elements for name, value in attrs.items()
                 if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}]  # fmt: skip
    assert addresses
    for tag, value in addresses:
        assert value is not None
        assert value.startswith("#") or (tag == "image" and value.startswith("data:image/jpeg;base64,")), (tag, value[:80])
    assert "http://" not in page and "https://" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert not {"link", "iframe", "object", "embed", "base", "form-action"} & {tag for tag, _ in parsed.elements}


def test_only_its_own_script_may_run(picture: Path) -> None:
    parsed = Parsed(report_page(sample_report(picture, "".join(HOSTILE))))
    policy = next(attrs["content"] for tag, attrs in parsed.elements if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert len(parsed.scripts) == 1
    digest = base64.b64encode(sha256(parsed.scripts[0].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert not [name for _, attrs in parsed.elements for name in attrs if name.startswith("on")]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_data_stays_text_wherever_it_stands(picture: Path, hostile: str) -> None:
    """The elements of the page are the same as with a harmless word in the same places."""

    def with_text(text: str) -> Report:
        report = sample_report(picture)
        report.cards[0].texts[0].text = report.cards[0].texts[0].label = report.cards[0].texts[2].why = text
        report.cards[0].objects = report.cards[1].objects = [text]
        report.cards[0].boxes[0].name = report.cards[1].reason = report.cards[1].detail = report.cards[0].stage = text
        report.cards[1].image = f"/nowhere/{text}"
        report.pipeline = report.created = report.flow[0].stage = report.spans[0].stage = report.sections[0].title = text
        report.run = {text: text, "nested": {text: [text]}}
        report.facts = {text: text}
        report.flow[0].rejected = {text: 23}
        report.flow[0].examples = {text: [RowExample(row_id=8, text=text)]}
        for name in ("rule", "shown", "threshold", "means"):
            setattr(report.findings[1], name, text)
        chart = report.sections[0].charts[0]
        chart.title = chart.x_label = chart.note = chart.series[0].name = chart.marks[0].label = text
        chart.series[0].x = [text, "B", "C", "D"]
        table = report.sections[1].tables[0]
        table.title, table.columns, table.rows, table.note = text, [text, "rows"], [[text, 90]], text
        return report

    page, harmless = report_page(with_text(hostile)), report_page(with_text("word"))
    assert {tag for tag, _ in Parsed(page).elements} == {tag for tag, _ in Parsed(harmless).elements}
    assert {name for _, attrs in Parsed(page).elements for name in attrs} == {
        name for _, attrs in Parsed(harmless).elements for name in attrs
    }
    assert len(Parsed(page).scripts) == 1
    assert "49" not in re.findall(r"\b\d+\b", " ".join(Parsed(page).texts)) or "{{ 7" in hostile


def test_what_would_not_be_seen_is_named(picture: Path) -> None:
    page = report_page(sample_report(picture, "a\u202eevil \x00\x07 \ud800 \u2066 \ufeff b"))
    assert "a⟨U+202E⟩evil ⟨U+0000⟩⟨U+0007⟩ ⟨U+D800⟩ ⟨U+2066⟩ ⟨U+FEFF⟩ b" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    page.encode("utf-8")


def test_scripts_that_need_joiners_and_line_breaks_keep_them() -> None:
    text = "می‌خواهم 👩‍🚀\nनमस्ते"
    assert text in report_page(sample_report(caption=text))


def test_the_worst_verdict_comes_first_with_icon_word_number_and_threshold(picture: Path) -> None:
    page = report_page(sample_report(picture))
    rows = re.findall(r'<tr id="rule-(\w+)" class="(\w+)">(.*?)</tr>', page, flags=re.S)
    assert [(name, verdict) for name, verdict, _ in rows] == [("position", "fail"), ("lengths", "look")]
    for _, verdict, row in rows:
        assert f'<use href="#icon-{verdict}"/></svg>{verdict}</span>' in row
        assert "<b>31.0 %</b>" in row and "at most 28 %" in row
        assert "look at the drawing of positions" in row
    assert page.index('id="verdict"') < page.index('id="flow"') < page.index('id="section-balance"') < page.index('id="gallery"')


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "No rule could be checked on this run"),
        (["pass"], "The only rule passes"),
        (["pass", "pass"], "All 2 rules pass"),
        (["pass", "fail", "look", "look"], "Of 4 rules 1 fails, 2 need a look"),
        (["pass", "look"], "Of 2 rules none fails, 1 needs a look"),
        (["pass", "fail", "fail"], "Of 3 rules 2 fail"),
        (["look"], "The only rule needs a look"),
    ],
)
def test_the_headline_says_it_in_a_line(verdicts: list[str], expected: str) -> None:
    findings = [
        QualityFinding(id=str(index), rule="r", verdict=verdict, shown="1", threshold="2", n=3, means="m")  # type: ignore[arg-type]
        for index, verdict in enumerate(verdicts)
    ]
    assert headline(Report(created="", pipeline="negbench", run={}, findings=findings)) == expected


def test_a_line_that_fails_says_what_is_wrong_and_leads_to_its_fix(picture: Path) -> None:
    report = sample_report(picture)
    report.findings[1].fault = "The true option is mostly the first one."
    report.findings[1].stage = "create_mcq"
    report.fixes = [Fix(id="create_mcq", title="create_mcq", text="Shuffle.", commands=["shardmill launch negbench --run R"])]
    page = report_page(report)
    line = page[page.index('id="rule-position"') : page.index('id="rule-lengths"')]
    assert "<b>The true option is mostly the first one.</b>" in line and "The rule of position." not in line
    assert '<a href="#fix-create_mcq">' in line and 'id="fix-create_mcq"' in page
    assert "This does not hold: The rule of lengths." in page  # a rule that does not say what is wrong


def test_rules_that_pass_are_one_line(picture: Path) -> None:
    page = report_page(sample_report(picture))
    folded = page[page.index('<details class="passed"') :]
    assert "1 rule passes" in folded[: folded.index("</summary>")]
    assert 'id="rule-kept"' in folded[: folded.index("</details>")]


def test_the_top_names_the_models_and_says_which_only_stand_in_for_others(picture: Path) -> None:
    report = sample_report(picture)
    report.models = [ModelUse(name="rules", role="text", stages=["extract_objects"], embedded=True)]
    top = report_page(report).split("</header>")[0]
    assert "made by the embedded model rules, which needs no weights" in top and "not for data to train on" in top
    report.models = [ModelUse(name="Qwen/Qwen3-8B (vllm)", role="text", stages=["extract_objects"], embedded=False)]
    top = report_page(report).split("</header>")[0]
    assert "Qwen/Qwen3-8B (vllm)" in top and "embedded" not in top.split("</style>")[1]


def test_shares_in_tables_are_percentages(picture: Path) -> None:
    report = sample_report(picture)
    rows: list[TableRow] = [["dog", 3, 0.301], ["share of all", 0.25, None]]
    table = FigureTable(id="t", title="T", columns=["object", "n", "part"], rows=rows, shares=["part", "share of all"])
    report.sections[1].tables.append(table)
    page = report_page(report)
    assert '<td class="num">30.1 %</td>' in page and '<td class="num">25.0 %</td>' in page and '<td class="num">3</td>' in page


def test_examples_lead_to_their_rows_and_those_elsewhere_to_none(picture: Path) -> None:
    page = report_page(sample_report(picture))
    finding = page[page.index('id="rule-position"') :]
    assert '<a href="#row-42">row 42</a>' in finding and 'id="row-42"' in page
    assert re.search(r"<b[^>]*>row 99</b>", finding) and 'id="row-99"' not in page


def test_two_cards_of_a_row_have_places_of_their_own(picture: Path) -> None:
    report = sample_report(picture)
    report.cards.append(report.cards[0].model_copy(update={"sub_id": 1}))
    report.findings[1].examples = [RowExample(row_id=42, sub_id=1, text="second")]
    page = report_page(report)
    assert re.findall(r'<article class="card" id="(row-42[^"]*)"', page) == ["row-42", "row-42-2"]
    assert '<a href="#row-42-2">row 42</a>' in page


def test_a_picture_is_small_and_inside_with_its_boxes_over_it(picture: Path) -> None:
    page = report_page(sample_report(picture))
    parsed = Parsed(page)
    assert len(parsed.values("image", "href")) == 1
    assert '<svg viewBox="0 0 640 480" role="img" aria-label="image of row 42 with 3 boxes">' in page
    kinds = [attrs.get("class") for tag, attrs in parsed.elements if tag == "rect"]
    assert [kind for kind in kinds if kind not in (None, "under")] == ["box kept", "box dropped", "box absent"]
    for expected in ("red block</bdi> 0.96 <i>kept", "green block</bdi> 0.08 <i>dropped", "lamp</bdi> 0.02 <i>absent"):
        assert expected in page


def test_a_picture_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page = report_page(sample_report(Path("bad.png")), image_root=tmp_path)
    assert "not an image of a known format" in page and "no such file: /nowhere/7.png" in page
    assert "<image" not in page


def test_relative_pictures_start_from_the_image_root(picture: Path) -> None:
    assert "<image" in report_page(sample_report(Path(picture.name)), image_root=picture.parent)


def test_boxes_beyond_the_picture_are_cut_and_impossible_ones_left_out() -> None:
    nan = float("nan")
    sides = [(-50, -50, 1000, 1000), (10, 10, 5, 20), (nan, 0, 10, 10), (0, 0, float("inf"), 10), (90, 0, 99, 50)]
    boxes = drawn_boxes([BoxView(name="x" * 90, score=0.5, box=side, kind="kept") for side in sides], 100, 80)
    assert [(box.x, box.y, box.width, box.height) for box in boxes] == [(0, 0, 100, 80), (90, 0, 9, 50)]
    assert all(len(box.label) <= 30 and 0 <= box.label_x <= 100 and 0 < box.label_y <= 80 for box in boxes)
    right = drawn_boxes([BoxView(name="neoprene dumbbell", score=0.5, box=(560, 200, 630, 300), kind="kept")], 640, 480)[0]
    assert (right.anchor, right.label_x) == ("end", 630)


def test_names_of_boxes_that_share_a_corner_do_not_cover_each_other() -> None:
    boxes = drawn_boxes([BoxView(name="soccer ball", score=0.98, box=(100, 100, 250, 250), kind="kept")] * 4, 640, 480)
    assert len({(box.label_x, box.label_y) for box in boxes}) == 4


def test_rows_that_are_missing_are_told(picture: Path) -> None:
    report = sample_report(picture)
    assert "not accounted for" not in report_page(report)
    report.flow[0].rows_out -= 3
    assert "3 rows not accounted for" in report_page(report)


def test_without_matplotlib_the_figures_are_open_tables(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = report_page(sample_report(picture))
    monkeypatch.setattr("shardmill.pages.plots.can_draw", lambda: False)
    page = report_page(sample_report(picture))
    assert 'class="chart"' in drawing and 'class="chart"' not in page
    assert "pip install &#39;shardmill[report]&#39;" in page and "pip install" not in drawing
    for expected in ("Where the answer stands", '<bdi>B</bdi></td><td class="num">0.3</td>', "line: at most 28 % (0.28)"):
        assert expected in page
    assert page.count("<details open><summary>as a table") == 3


def test_the_same_report_gives_the_same_bytes(picture: Path, tmp_path: Path) -> None:
    one = write_report(sample_report(picture), tmp_path / "deep" / "a.html").read_bytes()
    assert write_report(sample_report(picture), tmp_path / "b.html").read_bytes() == one


def test_an_empty_report_is_a_page_too() -> None:
    page = report_page(Report(created="2026-01-02", pipeline="negbench", run={}))
    assert "No rule could be checked" in page and 'id="gallery"' not in page


@pytest.mark.parametrize(
    ("value", "expected"), [(1446, "1,446"), (0.3125, "0.3125"), (2.0, "2"), (None, "–"), ("a", "a"), (float("nan"), "nan")]
)
def test_numbers_are_written_for_people(value: float | None, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("shown", "parts"),
    [
        ("34.7 % right (28.0 % to 42.0 %)", ("34.7 % right", "(28.0 % to 42.0 %)")),
        ("88.9 % (1,234 of 5,678); most is lost", ("88.9 %", "(1,234 of 5,678); most is lost")),
        ("1,446", ("1,446", "")),
        ("A 28 %, B 25 %", ("", "A 28 %, B 25 %")),
    ],
)
def test_the_figure_itself_stands_out(shown: str, parts: tuple[str, str]) -> None:
    assert figure(shown) == parts
