"use strict";
(() => {
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const claims = [...document.querySelectorAll(".claim")];
  const id = (claim) => sheet.rows[Number(claim.dataset.at)][sheet.columns.indexOf("claim_id")];
  const radios = (claim) => [...claim.querySelectorAll("input[type=radio]")];
  const noteOf = (claim) => claim.querySelector(".note");
  const annotator = document.getElementById("annotator");
  const key = "shardmill audit " + sheet.id;
  const state = { annotator: "", verdicts: new Map(), notes: new Map() };
  let here = 0;

  const notice = (text) => { document.getElementById("notice").textContent = text; };

  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key) || "{}");
      const known = new Set(claims.map(id));
      for (const [claim, verdict] of kept.verdicts || []) {
        if (known.has(claim) && sheet.verdicts.includes(verdict)) state.verdicts.set(claim, verdict);
      }
      for (const [claim, note] of kept.notes || []) if (known.has(claim)) state.notes.set(claim, String(note));
      state.annotator = String(kept.annotator || "");
    } catch (error) {
      notice("What was ticked here before cannot be read, or this browser keeps nothing: save the sheet before you close the page.");
    }
  };

  const keep = () => {
    const kept = { annotator: state.annotator, verdicts: [...state.verdicts], notes: [...state.notes] };
    try {
      localStorage.setItem(key, JSON.stringify(kept));
    } catch (error) {
      notice("This browser keeps nothing: save the sheet before you close the page.");
    }
  };

  const show = () => {
    document.getElementById("progress").value = state.verdicts.size;
    document.getElementById("count").textContent = `${state.verdicts.size} of ${claims.length} claims`;
  };

  const go = (at, scroll) => {
    if (at < 0 || at >= claims.length) return;
    claims[here].classList.remove("here");
    claims[here].removeAttribute("aria-current");
    here = at;
    claims[here].classList.add("here");
    claims[here].setAttribute("aria-current", "true");
    if (scroll) claims[here].scrollIntoView({ block: "nearest" });
  };

  const goOpen = () => {
    const order = [...claims.keys()];
    const open = [...order.slice(here), ...order.slice(0, here)].find((at) => !state.verdicts.has(id(claims[at])));
    if (open === undefined) notice("All claims are judged. Save the sheet.");
    else go(open, true);
  };

  const judge = (at, verdict) => {
    const claim = claims[at];
    if (verdict) state.verdicts.set(id(claim), verdict);
    else state.verdicts.delete(id(claim));
    for (const radio of radios(claim)) radio.checked = radio.value === verdict;
    keep();
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
      const claim = row[sheet.columns.indexOf("claim_id")];
      const said = { verdict: state.verdicts.get(claim) || "", note: state.notes.get(claim) || "" };
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
    const open = claims.length - state.verdicts.size;
    notice(`Saved ${link.download}` + (open ? `; ${open} claims are still open.` : "."));
  };

  load();
  annotator.value = state.annotator;
  annotator.addEventListener("input", () => { state.annotator = annotator.value.trim(); keep(); });
  claims.forEach((claim, at) => {
    const verdict = state.verdicts.get(id(claim));
    for (const radio of radios(claim)) {
      radio.checked = radio.value === verdict;
      radio.addEventListener("change", () => judge(at, radio.value));
    }
    noteOf(claim).value = state.notes.get(id(claim)) || "";
    noteOf(claim).addEventListener("input", (event) => {
      if (event.target.value) state.notes.set(id(claim), event.target.value);
      else state.notes.delete(id(claim));
      keep();
    });
    claim.addEventListener("focusin", () => go(at, false));
    claim.addEventListener("click", () => go(at, false));
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
      if (state.verdicts.size === claims.length) notice("All claims are judged. Save the sheet.");
    }
  });
  document.getElementById("next").addEventListener("click", goOpen);
  document.getElementById("export").addEventListener("click", save);
  show();
  if (claims.length) go(0, false);
  if (state.verdicts.size) goOpen();
})();
