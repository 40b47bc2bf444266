"use strict";
// Filters of the gallery, and links into it. Everything is read from the cards, and data only ever becomes text.
(() => {
  const form = document.getElementById("filters");
  const cards = [...document.querySelectorAll(".card")].map((element) => ({
    element,
    stage: [element.dataset.stage],
    outcome: [element.dataset.outcome],
    reason: element.dataset.reason ? [element.dataset.reason] : [],
    object: [...new Set([...element.querySelectorAll("[data-object]")].map((item) => item.dataset.object))],
    words: element.textContent.toLowerCase(),
  }));
  const names = ["stage", "outcome", "reason", "object"];

  const fits = (card, but) =>
    names.every((name) => name === but || !form.elements[name].value || card[name].includes(form.elements[name].value.slice(1))) &&
    form.elements.words.value.toLowerCase().split(/\s+/).every((word) => card.words.includes(word));

  function option(value, text) {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  }

  function fill(name) {
    const select = form.elements[name];
    const chosen = select.value;
    const counts = new Map();
    for (const card of cards.filter((card) => fits(card, name))) {
      for (const value of card[name]) counts.set(value, (counts.get(value) || 0) + 1);
    }
    if (chosen && !counts.has(chosen.slice(1))) counts.set(chosen.slice(1), 0);
    const order = [...counts].sort((a, b) => (name === "stage" ? 0 : b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));
    const many = new Set(cards.filter((card) => fits(card, name))).size;
    select.replaceChildren(option("", `all (${many})`), ...order.map(([value, count]) => option("=" + value, `${value} (${count})`)));
    select.value = chosen;
    select.disabled = !order.length;
  }

  function update() {
    let shown = 0;
    for (const card of cards) {
      const visible = fits(card);
      card.element.hidden = !visible;
      shown += visible;
    }
    names.forEach(fill);
    document.getElementById("count").textContent = `${shown} of ${cards.length} rows`;
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (form && target.hidden) {
      form.reset();
      update();
    }
    for (let element = target.parentElement; element; element = element.parentElement) {
      if (element.tagName === "DETAILS") element.open = true;
    }
    target.scrollIntoView();
    if (target.classList.contains("card")) target.focus({ preventScroll: true });
  }

  if (form && cards.length) {
    form.hidden = false;
    form.addEventListener("input", update);
    form.addEventListener("change", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(update));
    for (const link of document.querySelectorAll("a[data-reason]")) {
      link.addEventListener("click", () => {
        form.reset();
        names.forEach(fill);
        form.elements.stage.value = "=" + link.dataset.stage;
        form.elements.reason.value = "=" + link.dataset.reason;
        update();
      });
    }
    update();
  }
  for (const button of document.querySelectorAll("button[data-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(open));
      for (const details of document.querySelectorAll("details.step")) details.open = open;
    });
  }
  addEventListener("hashchange", reveal);
  reveal();

  for (const menu of document.querySelectorAll("details.menu")) {
    addEventListener("click", (event) => {
      if (event.target.closest(".menu") !== menu || event.target.tagName === "A") menu.open = false;
    });
    addEventListener("keydown", (event) => { if (event.key === "Escape") menu.open = false; });
  }

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open]):not(.menu)")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));
})();
