"""The report's page in a real browser: it says nothing bad to the console, its filters work, and it fits a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browser.chromium import Browser
from report_samples import HOSTILE, sample_comparison, sample_report, save_image
from shardmill.compare.view import page_of
from shardmill.core.planning import NewRun
from shardmill.pages.shown import shown_text
from shardmill.previews import preview_run
from shardmill.previews.page import write_preview
from shardmill.quality.page import write_report

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(sample_report(save_image(folder / "scene.png")), folder / "report.html")


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preview")
    with preview_run(NewRun(input=SAMPLES / "captions.csv"), 8) as (run, found):
        return write_preview(run, found, folder / "preview.html", "captions.csv")


def cards(browser: Browser) -> list[str]:
    return [card.get_attribute("id") for card in browser.visible(".card")]


def field(browser: Browser, name: str) -> Any:
    return browser.driver.find_element(By.NAME, name)


def options(browser: Browser, name: str) -> list[str]:
    return [option.text for option in Select(field(browser, name)).options]


def choose(browser: Browser, name: str, text: str) -> None:
    Select(field(browser, name)).select_by_visible_text(text)


def count(browser: Browser) -> str:
    return str(browser.driver.find_element(By.ID, "count").text)


def overflow(browser: Browser) -> int:
    """By how many pixels the page is wider than its window."""
    return int(browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_filters_change_the_rows_that_are_shown_and_their_counts(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert cards(browser) == ["row-42", "row-7", "row-8"] and count(browser) == "3 of 3 rows"
    assert options(browser, "outcome") == ["all (3)", "rejected (2)", "accepted (1)"]
    choose(browser, "outcome", "rejected (2)")
    assert cards(browser) == ["row-7", "row-8"] and count(browser) == "2 of 3 rows"
    assert options(browser, "stage") == ["all (2)", "filter_objects (1)", "extract_objects (1)"]
    choose(browser, "reason", "no object (1)")
    assert cards(browser) == ["row-8"]
    browser.all("#filters button")[0].click()
    browser.wait_until_idle()
    assert len(cards(browser)) == 3
    choose(browser, "object", "green block (1)")
    assert cards(browser) == ["row-42"]
    assert browser.console() == []


def test_free_text_finds_rows_by_every_word(browser: Browser, page: Path) -> None:
    browser.open(page)
    field(browser, "words").send_keys("SLEEPS cat")
    assert cards(browser) == ["row-7"] and count(browser) == "1 of 3 rows"
    field(browser, "words").send_keys(" zebra")
    assert cards(browser) == [] and count(browser) == "0 of 3 rows"
    field(browser, "words").send_keys(Keys.CONTROL, "a")
    field(browser, "words").send_keys(Keys.DELETE)
    assert len(cards(browser)) == 3


def test_an_example_leads_to_its_row_though_a_filter_hides_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    choose(browser, "outcome", "rejected (2)")
    assert "row-42" not in cards(browser)
    browser.run("document.querySelector('#rule-position .examples a').click()")
    browser.wait_until_idle()
    assert "row-42" in cards(browser)
    assert browser.run("return document.activeElement.id") == "row-42"


def test_a_reason_in_the_flow_leads_to_its_rows(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('a[data-reason]').click()")
    browser.wait_until_idle()
    assert cards(browser) == ["row-8"]


def test_a_link_from_elsewhere_opens_the_row(browser: Browser, page: Path) -> None:
    browser.open(page, anchor="row-8")
    top = browser.run("return document.getElementById('row-8').getBoundingClientRect().top")
    assert 0 <= top < 900


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_caption_says_is_text_and_never_runs(browser: Browser, tmp_path: Path, hostile: str) -> None:
    report = sample_report(save_image(tmp_path / "scene.png"), hostile)
    report.cards[0].objects = [hostile]
    report.cards[1].reason = report.cards[0].boxes[0].name = report.pipeline = hostile
    browser.open(write_report(report, tmp_path / "page.html"))
    title = browser.driver.title
    assert title.endswith(": demo") and title != "taken"
    assert len(browser.all("script")) == 1 and browser.all("[onerror]") == []
    assert len(options(browser, "reason")) == 3
    for element in browser.all("select option"):
        assert element.get_attribute("innerHTML").count("<") == 0
    shown = browser.run("return document.querySelector('#row-42 dd').textContent")
    assert shown == shown_text(hostile)
    assert browser.console() == []


def test_an_injected_script_would_be_refused(browser: Browser, page: Path) -> None:
    """The policy holds even if something got past the escaping."""
    browser.open(page)
    browser.run(
        "const made = document.createElement('script'); made.textContent = 'window.taken = 1'; document.body.append(made);"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image)"
    )
    browser.wait_until_idle()
    assert browser.run("return window.taken") is None
    told = " ".join(browser.console())
    assert "Content Security Policy" in told and "127.0.0.1:9" in told


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, preview: Path, width: int, dark: bool) -> None:
    for each in (page, preview):
        browser.open(each, width=width, dark=dark)
        browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
        assert overflow(browser) <= 0
        assert browser.console() == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_menu_is_one_line_and_its_figures_lead_to_their_section(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    tops = {round(item.rect["y"] + item.rect["height"] / 2) for item in browser.visible("nav > a, nav summary")}
    assert max(tops) - min(tops) <= 3
    browser.visible("nav summary")[0].click()
    browser.visible(".menu a")[-1].click()
    browser.wait_until_idle()
    assert browser.run("return location.hash") == "#section-objects" and browser.visible(".menu a") == []


def test_what_passes_is_folded_and_opens_when_something_leads_to_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.visible("#rule-kept") == [] and browser.visible("#rule-position") != []
    browser.open(page, anchor="rule-kept")
    assert browser.visible("#rule-kept") != []


def test_a_comparison_has_no_table_wider_than_a_phone(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    path.write_text(page_of(sample_comparison()), encoding="utf-8")
    browser.open(path, width=390)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert overflow(browser) <= 0
    assert (
        browser.run("return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length") == 0
    )
    label = browser.run("return getComputedStyle(document.querySelector('td[data-label]'), '::before').content")
    assert label == '"first"'
    assert browser.console() == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_it_is_on(browser: Browser, page: Path, dark: bool) -> None:
    """The contrast of WCAG 2.1 AA: 4.5, of every text that is on the page."""
    browser.open(page, dark=dark)
    poor = browser.run(
        """
        const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
        const linear = (c) => c <= 10 ? c / 3295 : ((c / 255 + 0.055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const ground = (element) => {
          for (let each = element; each; each = each.parentElement) {
            const colour = rgb(getComputedStyle(each).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.99) return colour;
          }
          return [255, 255, 255];
        };
        const says = (element) => !element.closest('svg, script')
          && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        return [...document.querySelectorAll('body *')].filter(says).map((element) => {
          const a = light(rgb(getComputedStyle(element).color)), b = light(ground(element));
          return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.textContent.slice(0, 40)];
        }).filter(([ratio]) => ratio < 4.5);
        """
    )
    assert poor == []


def test_everything_can_be_reached_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    body = browser.driver.find_element(By.TAG_NAME, "body")
    reached = set()
    for _ in range(80):
        body = browser.driver.switch_to.active_element
        body.send_keys(Keys.TAB)
        reached.add(browser.run("const at = document.activeElement; return at.name || at.className || at.tagName"))
    assert {"skip", "stage", "outcome", "reason", "object", "words", "SUMMARY", "scroll", "BUTTON", "A"} <= reached


def test_in_print_everything_is_open_and_nothing_is_to_click(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.all("details:not([open]):not(.menu)") == []
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.all("details:not([open])") != []
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.visible("nav, #filters") == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_preview_opens_all_its_stages_at_once_and_keeps_requests_folded(browser: Browser, preview: Path) -> None:
    browser.open(preview)
    assert len(cards(browser)) == 8
    before = len(browser.visible(".step pre.answer"))
    browser.all("[data-open]")[0].click()
    assert browser.all("details.step:not([open])") == []
    assert len(browser.visible(".step pre.answer")) > before + 20
    assert browser.visible(".request pre") == []
    browser.visible(".request summary")[0].click()
    assert browser.visible(".request pre") != []
    field(browser, "words").send_keys("system")
    assert 0 < len(cards(browser)) <= 8
    assert browser.console() == []
