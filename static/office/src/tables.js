// Tables by keyboard: j and k (or the arrows) move, Enter opens; a click anywhere on a row opens it too.
import { typing } from "./shell.js";

const rows = (table) => [...table.querySelectorAll("tbody tr[data-href]")];

// a table wider than its frame can be scrolled by keyboard: the frame takes the focus, named by the caption
function reach() {
  for (const wrap of document.querySelectorAll(".table-wrap")) {
    if (wrap.scrollWidth <= wrap.clientWidth && wrap.scrollHeight <= wrap.clientHeight) continue;
    wrap.tabIndex = 0;
    wrap.setAttribute("role", "region");
    if (!wrap.hasAttribute("aria-label")) {
      wrap.setAttribute("aria-label", wrap.querySelector("caption")?.textContent ?? "Table");
    }
  }
}

export function startTables() {
  reach();
  for (const event of ["renewed", "htmx:afterSettle", "toggle"]) document.addEventListener(event, reach, true);
  addEventListener("resize", reach);
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (!row || event.target.closest("a, button, input, select, label, summary") || getSelection().toString()) return;
    open(row, event.metaKey || event.ctrlKey);
  });
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.metaKey || event.ctrlKey || event.altKey) return;
    const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = document.activeElement.closest?.("tr[data-href]");
    if (event.key === "Enter" && at === document.activeElement) return open(at, false);
    if (!step || (event.key.startsWith("Arrow") && !at)) return;
    const table = at?.closest("table") ?? document.querySelector("table[data-rows]");
    if (!table) return;
    const all = rows(table);
    const next = all[Math.max(0, Math.min(all.length - 1, at ? all.indexOf(at) + step : 0))];
    if (!next) return;
    event.preventDefault();
    next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  });
}

function open(row, elsewhere) {
  if (elsewhere) window.open(row.dataset.href);
  else location.href = row.dataset.href;
}
