// Tables by keyboard: j and k (or the arrows) move, Enter opens, x chooses; a click anywhere on a row opens it too.
import { typing } from "./shell.js";

const ROWS = "tbody tr[data-href], table[data-rows] > tbody > tr";
const rows = (table) => [...table.querySelectorAll("tbody tr")];

// a table wider than its frame can be scrolled by keyboard: the frame takes the focus, named by its caption
// or the heading before it
function reach(wrap) {
  const scrolls = wrap.scrollWidth > wrap.clientWidth || wrap.scrollHeight > wrap.clientHeight;
  if (!scrolls) {
    if (wrap !== document.activeElement) wrap.removeAttribute("tabindex");
    return;
  }
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  if (wrap.hasAttribute("aria-label")) return;
  const before = [...document.querySelectorAll("main :is(h1, h2, h3)")].filter(
    (heading) => heading.compareDocumentPosition(wrap) & Node.DOCUMENT_POSITION_FOLLOWING,
  );
  wrap.setAttribute("aria-label", (wrap.querySelector("caption") ?? before.at(-1))?.textContent ?? "Table");
}

// a frame or its table may change by the window, by what comes in, by a font: each is watched
const sizes = new ResizeObserver((changed) => {
  for (const wrap of new Set(changed.map((entry) => entry.target.closest(".table-wrap")))) if (wrap) reach(wrap);
});

function watch() {
  for (const part of document.querySelectorAll(".table-wrap, .table-wrap > table")) sizes.observe(part);
}

function move(event, step, at) {
  const table = at?.closest("table") ?? document.querySelector("table[data-rows]");
  if (!table) return;
  const all = rows(table);
  const next = all[Math.max(0, Math.min(all.length - 1, at ? all.indexOf(at) + step : 0))];
  if (!next) return;
  event.preventDefault();
  // one row of a table is in the way of Tab: the one that was left last
  for (const row of all) if (row.tabIndex === 0 && row !== next) row.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

export function startTables() {
  watch();
  for (const event of ["renewed", "htmx:afterSettle"]) document.addEventListener(event, watch, true);
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (!row || event.target.closest("a, button, input, select, label, summary, .choose")) return;
    if (!getSelection().toString()) open(row, event.metaKey || event.ctrlKey);
  });
  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.("[data-choose]");
    if ((typing(event) && !box) || event.metaKey || event.ctrlKey || event.altKey) return;
    const at = document.activeElement.closest?.(ROWS);
    const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && at && at === document.activeElement && at.dataset.href) return open(at, false);
    if (event.key === "x" && at) at.querySelector("[data-choose]")?.click();
    if (event.key === "Escape" && at) choose(boxes(), false);
    if (step && (at || !event.key.startsWith("Arrow"))) move(event, step, at);
  });
  startBulk();
}

function open(row, elsewhere) {
  if (elsewhere) window.open(row.dataset.href);
  else location.href = row.dataset.href;
}

// --- choosing rows, and doing one thing to all of them ---------------------------------------------------------
const boxes = () => [...document.querySelectorAll("[data-choose]")];

function choose(some, on) {
  for (const box of some) box.checked = on;
  tell();
}

function tell() {
  const form = document.querySelector("[data-bulk]");
  if (!form) return;
  const all = boxes();
  const chosen = all.filter((box) => box.checked);
  for (const box of all) box.closest("tr").toggleAttribute("data-chosen", box.checked);
  form.hidden = chosen.length === 0;
  form.querySelector("[data-chosen]").textContent = `${chosen.length} chosen`;
  const head = document.querySelector("[data-choose-all]");
  if (!head) return;
  head.hidden = all.length === 0;
  head.checked = all.length > 0 && chosen.length === all.length;
  head.indeterminate = chosen.length > 0 && chosen.length < all.length;
}

function startBulk() {
  const form = document.querySelector("[data-bulk]");
  if (!form) return;
  form.dataset.floats = "";
  form.querySelector("[data-choose-none]").hidden = false;
  let last = null;
  tell();
  document.addEventListener("renewed", tell);
  addEventListener("pageshow", tell); // a page that is had back has its boxes as they were
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-choose-all]")) choose(boxes(), event.target.checked);
    if (event.target.closest("[data-choose-none]")) choose(boxes(), false);
    const box = event.target.closest("[data-choose]");
    if (!box) return;
    const all = boxes();
    if (event.shiftKey && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const one of all.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
    tell();
  });
  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.dataset.confirm || form.elements.confirmed) return;
    event.preventDefault();
    ask(form, button);
  });
}

function ask(form, button) {
  const number = boxes().filter((box) => box.checked).length;
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.innerHTML =
    '<header><h2 id="ask-title"></h2></header><div class="body"><p></p><footer>' +
    '<button type="button" class="button" data-close>Cancel</button><button type="button" class="button danger"></button>' +
    "</footer></div>";
  const words = button.textContent.trim();
  dialog.querySelector("h2").textContent = `${words}: ${number} chosen`;
  dialog.querySelector("p").textContent = button.dataset.confirm;
  const yes = dialog.querySelector(".danger");
  yes.textContent = words;
  yes.addEventListener("click", () => {
    const said = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "1" });
    form.append(said);
    form.requestSubmit(button);
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    button.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
