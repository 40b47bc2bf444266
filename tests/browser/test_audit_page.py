"""The audit page in a real browser: ticking by key and mouse, what survives a reload, and the sheet that it saves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import WebDriverWait

from shardmill.audit.page import write_page
from shardmill.audit.result import summarize_sheets
from shardmill.audit.sample import AuditSample, SampledRow, SampledStatement, Stratum
from shardmill.audit.sheet import read_sheet, write_sheet
from shardmill.audit.statements import AuditOutput, AuditRow, Statement
from shardmill.pages.cards import BoxView, TextView

HOSTILE = '</script><script>window.broken=1</script><img src=x onerror="window.broken=1">'
STATEMENTS = ["There is a dog in this image.", f'=1+1 "{HOSTILE}"', "There is no cat,\nnor a größer ☕ one.", "@last"]


@pytest.fixture
def sample(tmp_path: Path) -> AuditSample:
    """Two rows of two statements each, the first with an image, drawn into `tmp_path` as a page and a sheet."""
    Image.new("RGB", (640, 320), "navy").save(tmp_path / "dog.png")
    output = AuditOutput("objects", "validate_objects", "image", pl.lit("lists"), lambda row: AuditRow([]))
    boxes = [
        BoxView(name=HOSTILE, score=0.9, box=(10, 10, 300, 200), kind="kept"),
        BoxView(name="cat", score=0.1, box=(1, 2, 9, 9), kind="absent"),
    ]
    items = [
        AuditRow([Statement("k", text) for text in STATEMENTS[:2]], [TextView(label=HOSTILE, text=HOSTILE)], boxes),
        AuditRow([Statement("k", text) for text in STATEMENTS[2:]]),
    ]
    images = [str(tmp_path / "dog.png"), str(tmp_path / "gone.png")]
    drawn = [SampledRow(output, 0, row, None, images[row], item) for row, item in enumerate(items)]
    claims = [
        SampledStatement(
            claim_id=f"s00000000ab-000{at // 2 + 1}-0{at % 2 + 1}", unit=at // 2, stratum=0, kind="k", claim=text, row_id=at // 2,
            sub_id=None, image=images[at // 2],
        )
        for at, text in enumerate(STATEMENTS)
    ]  # fmt: skip
    made = AuditSample(
        id="s00000000ab", pipeline="negbench", input_sha256="", run_seed=0, seed=0, rows=2, missing_shards=[], fingerprints={},
        strata=[Stratum(output="objects", name="lists", lines=2, drawn=2)], claims=claims,
    )  # fmt: skip
    write_page(made, drawn, tmp_path / "audit.html", HOSTILE)
    write_sheet(made, tmp_path / "audit.csv")
    return made


@pytest.fixture
def page(browser: Any, sample: AuditSample, tmp_path: Path) -> Any:
    """The driver of a browser that shows the page, remembers nothing of it, and saves into `tmp_path/saved`."""
    browser.open(tmp_path / "audit.html")
    browser.run("localStorage.clear()")
    browser.open(tmp_path / "audit.html")
    folder = {"behavior": "allow", "downloadPath": str(tmp_path / "saved")}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", folder)
    return browser.driver


def press(page: Any, *keys: str) -> None:
    for key in keys:
        ActionChains(page).send_keys(key).perform()


def verdicts(page: Any) -> list[str | None]:
    return list(
        page.execute_script(
            "return [...document.querySelectorAll('.statement')].map(c => c.querySelector('input:checked')?.value ?? null)"
        )
    )


def saved(page: Any, folder: Path) -> Path:
    """The sheet that the button saves."""
    page.find_element("id", "export").click()
    return eventually(lambda: next((path for path in (folder / "saved").glob("*.csv")), None))


def eventually(look: Callable[[], Path | None]) -> Path:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("nothing was saved within 20 seconds")


def test_keys_tick_the_statements_one_after_the_other(page: Any) -> None:
    press(page, "1", "2")
    assert verdicts(page) == ["right", "wrong", None, None]
    assert page.find_element("id", "count").text == "2 of 4 statements"
    assert page.execute_script("return document.querySelector('.here').dataset.at") == "2"
    press(page, Keys.ARROW_UP, "3")
    assert verdicts(page) == ["right", "unclear", None, None]
    press(page, Keys.ARROW_UP, "0")
    assert verdicts(page) == ["right", None, None, None]
    press(page, "1", "1", "1")
    assert page.find_element("id", "notice").text == "All statements are judged. Save the sheet."


def test_digits_in_a_note_or_a_name_are_no_verdicts(page: Any) -> None:
    page.find_element("id", "annotator").send_keys("Ann 1")
    page.find_element("css selector", ".note").send_keys("2 dogs")
    assert verdicts(page) == [None] * 4


def test_what_was_ticked_is_there_after_a_reload_and_goes_on_at_the_first_open_statement(page: Any) -> None:
    page.find_element("id", "annotator").send_keys("Ann")
    page.find_element("css selector", "input[value=wrong]").click()
    page.find_element("css selector", ".note").send_keys("no dog")
    page.refresh()
    assert verdicts(page) == ["wrong", None, None, None]
    assert page.find_element("id", "annotator").get_property("value") == "Ann"
    assert page.find_element("css selector", ".note").get_property("value") == "no dog"
    assert page.execute_script("return document.querySelector('.here').dataset.at") == "1"


def test_the_saved_sheet_is_the_one_that_can_be_read(page: Any, sample: AuditSample, tmp_path: Path) -> None:
    page.find_element("id", "annotator").send_keys("=Ann/1")
    page.find_elements("css selector", ".note")[2].send_keys('-2 "cats", größer')
    press(page, Keys.TAB)
    page.execute_script("document.activeElement.blur(); document.querySelectorAll('.statement')[0].click()")
    press(page, "1", "2", "3")
    path = saved(page, tmp_path)
    assert path.name == "audit-Ann-1.csv"
    sheet = read_sheet(path, sample)
    assert sheet.annotator == "=Ann/1"
    assert [(tick.verdict, tick.note) for tick in sheet.ticks.values()] == [
        ("right", ""), ("wrong", ""), ("unclear", '-2 "cats", größer'),
    ]  # fmt: skip
    assert summarize_sheets(sample, [sheet]).overall.error_rate == 0.5
    text = path.read_text("utf-8-sig")
    assert '"\'=1+1 ""</script>' in text and '"\'@last"' in text and '"\'=Ann/1"' in text


def test_the_sheet_of_an_unticked_page_is_the_one_that_was_written_beside_it(page: Any, tmp_path: Path) -> None:
    assert saved(page, tmp_path).read_bytes() == (tmp_path / "audit.csv").read_bytes()


def test_nothing_of_the_data_runs_and_nothing_is_loaded(page: Any) -> None:
    assert page.execute_script("return window.broken") is None
    assert page.title == f"Audit of {HOSTILE}"
    assert page.execute_script("return document.querySelectorAll('main img').length") == 1
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(r => r.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert page.get_log("browser") == []
    assert page.find_element("css selector", ".none").text.startswith("no such file: ")


def test_the_policy_stops_a_script_and_a_style_that_got_in_all_the_same(page: Any) -> None:
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);"
        "const t = document.createElement('style'); t.textContent = 'body { display: none }'; document.body.append(t);"
    )
    assert page.execute_script("return [window.broken ?? null, getComputedStyle(document.body).display]") == [None, "block"]
    refused = json.dumps(page.get_log("browser"))
    assert refused.count("Content Security Policy") >= 3


def test_boxes_lie_over_the_picture_where_the_detector_saw_them(page: Any) -> None:
    look = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    image, box = (page.execute_script(look, each) for each in (".picture img", ".picture .kept rect"))
    scale = image[2] / 640
    assert image[3] == pytest.approx(320 * scale, abs=1)
    assert box == pytest.approx([image[0] + 10 * scale, image[1] + 10 * scale, 290 * scale, 190 * scale], abs=3)


def test_it_says_whether_ticks_are_kept_and_in_a_saved_sheet(page: Any, tmp_path: Path) -> None:
    says = lambda: page.find_element("id", "saved").text  # noqa: E731
    assert says() == "nothing ticked yet"
    press(page, "1")
    assert says() == "kept in this browser, no sheet saved yet"
    saved(page, tmp_path)
    assert says() == "all in audit-ticked.csv"
    page.refresh()
    WebDriverWait(page, 10).until(lambda _: says() == "all in audit-ticked.csv")
    press(page, "2")
    assert says() == "kept in this browser, newer than audit-ticked.csv"


@pytest.mark.parametrize("size", [(390, 844), (360, 640), (1280, 700)])
def test_the_picture_stays_in_view_while_its_statements_are_ticked(browser: Any, page: Any, tmp_path: Path, size: Any) -> None:
    browser.open(tmp_path / "audit.html", *size)
    more = "for (let n = 0; n < 20; n++) list.append(list.lastElementChild.cloneNode(true));"
    browser.run("const list = document.querySelector('.statements');" + more)
    browser.run("document.querySelector('.statements').lastElementChild.scrollIntoView({ block: 'nearest' })")
    browser.wait_until_idle()
    box = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.top, b.bottom]"
    (top, bottom), (start, end) = (browser.run(box, name) for name in (".picture", ".statements li:last-child .text"))
    assert 0 <= top < bottom <= size[1] and end <= size[1]
    if size[0] < 700:  # the picture is above the statement, and the bar with the buttons below it
        assert bottom <= start and end <= browser.run(box, ".bar")[0]


def test_a_tap_moves_on_to_the_next_statement_and_a_phone_is_told_how(browser: Any, page: Any, tmp_path: Path) -> None:
    browser.open(tmp_path / "audit.html", width=390)
    browser.all(".statement .right")[0].click()
    assert page.execute_script("return document.querySelector('.here').dataset.at") == "1"
    assert "tap right, wrong or unclear" in browser.visible(".how")[0].text and len(browser.visible(".how")) == 1


def test_a_phone_shows_everything_in_its_width(page: Any, browser: Any, tmp_path: Path) -> None:
    browser.open(tmp_path / "audit.html", width=390)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
