"use strict";
(() => {
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const statements = [...document.querySelectorAll(".statement")];
  const id = (statement) => sheet.rows[Number(statement.dataset.at)][sheet.columns.indexOf("claim_id")];
  const radios = (statement) => [...statement.querySelectorAll("input[type=radio]")];
  const noteOf = (statement) => statement.querySelector(".note");
  const annotator = document.getElementById("annotator");
  const key = "shardmill audit " + sheet.id;
  const state = { annotator: "", verdicts: new Map(), notes: new Map(), changes: 0, sheet: "", changesInSheet: 0, stored: true };
  let here = 0;

  const notice = (text) => { document.getElementById("notice").textContent = text; };

  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key) || "{}");
      const known = new Set(statements.map(id));
      for (const [statement, verdict] of kept.verdicts || []) {
        if (known.has(statement) && sheet.verdicts.includes(verdict)) state.verdicts.set(statement, verdict);
      }
      for (const [statement, note] of kept.notes || []) if (known.has(statement)) state.notes.set(statement, String(note));
      state.annotator = String(kept.annotator || "");
      state.changes = Number(kept.changes) || 0;
      state.sheet = String(kept.sheet || "");
      state.changesInSheet = Number(kept.changesInSheet) || 0;
    } catch (error) {
      state.stored = false;
    }
  };

  const keep = () => {
    const { annotator, changes, sheet, changesInSheet } = state;
    const kept = { annotator, changes, sheet, changesInSheet, verdicts: [...state.verdicts], notes: [...state.notes] };
    try {
      localStorage.setItem(key, JSON.stringify(kept));
      state.stored = true;
    } catch (error) {
      state.stored = false;
    }
    showSaved();
  };

  const change = () => {
    state.changes += 1;
    keep();
  };

  // Whether the ticks would outlive this page, and whether the last saved sheet has them all.
  const showSaved = () => {
    const inSheet = state.sheet && state.changes === state.changesInSheet;
    let text = "nothing ticked yet";
    if (inSheet) text = `all in ${state.sheet}`;
    else if (!state.stored) text = "not kept: save the sheet before you close the page";
    else if (state.changes) text = state.sheet ? `kept in this browser, newer than ${state.sheet}` : "kept in this browser, no sheet saved yet";
    document.getElementById("saved").textContent = text;
  };

  const show = () => {
    document.getElementById("progress").value = state.verdicts.size;
    const many = `${statements.length} ${statements.length === 1 ? "statement" : "statements"}`;
    document.getElementById("count").textContent = `${state.verdicts.size} of ${many}`;
  };

  const go = (at, scroll) => {
    if (at < 0 || at >= statements.length) return;
    statements[here].classList.remove("here");
    statements[here].removeAttribute("aria-current");
    here = at;
    statements[here].classList.add("here");
    statements[here].setAttribute("aria-current", "true");
    if (scroll) statements[here].scrollIntoView({ block: "nearest" });
  };

  const goOpen = () => {
    const order = [...statements.keys()];
    const open = [...order.slice(here), ...order.slice(0, here)].find((at) => !state.verdicts.has(id(statements[at])));
    if (open === undefined) notice("All statements are judged. Save the sheet.");
    else go(open, true);
  };

  const judge = (at, verdict) => {
    const statement = statements[at];
    if (verdict) state.verdicts.set(id(statement), verdict);
    else state.verdicts.delete(id(statement));
    for (const radio of radios(statement)) radio.checked = radio.value === verdict;
    change();
    show();
  };

  // A cell that begins like a formula is written with ' before it; `shardmill audit --read` takes it off again.
  const cell = (value) => {
    const text = String(value);
    const safe = /^['=+\-@＝＋－＠\t\r\n]/.test(text) ? "'" + text : text;
    return '"' + safe.replaceAll('"', '""') + '"';
  };

  const csv = () => {
    const lines = [sheet.columns, ...sheet.rows.map((row) => {
      const statement = row[sheet.columns.indexOf("claim_id")];
      const said = { verdict: state.verdicts.get(statement) || "", note: state.notes.get(statement) || "" };
      if (said.verdict || said.note) said.annotator = state.annotator;
      return sheet.columns.map((name, at) => (name in said ? said[name] : row[at]));
    })];
    return "\ufeff" + lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
  };

  const save = () => {
    const name = state.annotator.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.download = name ? `audit-${name}.csv` : "audit-ticked.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    state.sheet = link.download;
    state.changesInSheet = state.changes;
    keep();
    const open = statements.length - state.verdicts.size;
    notice(`Saved ${link.download}` + (open ? `; still open: ${open}.` : "."));
  };

  load();
  annotator.value = state.annotator;
  annotator.addEventListener("input", () => { state.annotator = annotator.value.trim(); change(); });
  statements.forEach((statement, at) => {
    const verdict = state.verdicts.get(id(statement));
    for (const radio of radios(statement)) {
      radio.checked = radio.value === verdict;
      radio.addEventListener("change", () => judge(at, radio.value));
    }
    noteOf(statement).value = state.notes.get(id(statement)) || "";
    noteOf(statement).addEventListener("input", (event) => {
      if (event.target.value) state.notes.set(id(statement), event.target.value);
      else state.notes.delete(id(statement));
      change();
    });
    statement.addEventListener("focusin", () => go(at, false));
    statement.addEventListener("click", (event) => {
      const ticked = event.target.type === "radio";
      go(ticked ? Math.min(at + 1, statements.length - 1) : at, ticked);
    });
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=radio])");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const verdict = { 1: "right", 2: "wrong", 3: "unclear", 0: "" }[event.key];
    if (step === undefined && verdict === undefined) return;
    event.preventDefault();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    if (step !== undefined) go(here + step, true);
    else {
      judge(here, verdict);
      if (verdict) go(here + 1, true);
      if (state.verdicts.size === statements.length) notice("All statements are judged. Save the sheet.");
    }
  });
  document.getElementById("next").addEventListener("click", goOpen);
  document.getElementById("export").addEventListener("click", save);
  show();
  showSaved();
  if (statements.length) go(0, false);
  if (state.verdicts.size) goOpen();
})();
