// The command palette: Ctrl K or ⌘ K, arrows, Enter.
import { typing } from "./shell.js";

const apple = /Mac|iPhone|iPad/.test(navigator.platform);
let entries = null;
let shown = [];
let at = 0;

export function startPalette() {
  const dialog = document.getElementById("palette");
  if (!dialog || !document.body.dataset.paletteUrl) return;
  const input = dialog.querySelector("input");
  const list = dialog.querySelector("[role=listbox]");
  for (const key of document.querySelectorAll("[data-shortcut]")) key.textContent = apple ? "⌘ K" : "Ctrl K";

  const draw = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (e) => words.every((w) => `${e.word} ${e.hint} ${e.group}`.toLowerCase().includes(w));
    shown = (entries ?? []).filter(fits).slice(0, 40);
    at = Math.min(at, Math.max(0, shown.length - 1));
    list.replaceChildren();
    let group = null;
    shown.forEach((entry, i) => {
      if (entry.group !== group) {
        group = entry.group;
        list.append(Object.assign(document.createElement("div"), { className: "group", textContent: group, role: "presentation" }));
      }
      list.append(option(entry, i));
    });
    if (!shown.length) {
      const none = Object.assign(document.createElement("div"), { className: "none", role: "option" });
      none.textContent = entries ? "Nothing fits these words" : "Looking";
      none.setAttribute("aria-disabled", "true");
      list.append(none);
    }
    mark();
  };

  const option = (entry, i) => {
    const row = document.createElement("div");
    row.id = `palette-${i}`;
    row.setAttribute("role", "option");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", entry.icon);
    svg.append(use);
    const hint = Object.assign(document.createElement("span"), { className: "hint", textContent: entry.hint });
    row.append(svg, entry.word, hint);
    row.onclick = () => (location.href = entry.href);
    row.onmousemove = () => {
      if (at !== i) (at = i), mark();
    };
    return row;
  };

  const mark = () => {
    list.querySelectorAll("[id^=palette-]").forEach((row, i) => row.setAttribute("aria-selected", String(i === at)));
    if (shown.length) input.setAttribute("aria-activedescendant", `palette-${at}`);
    else input.removeAttribute("aria-activedescendant");
    document.getElementById(`palette-${at}`)?.scrollIntoView({ block: "nearest" });
  };

  const open = async () => {
    if (dialog.open) return;
    input.value = "";
    at = 0;
    dialog.showModal();
    input.focus();
    draw();
    try {
      const answer = await fetch(document.body.dataset.paletteUrl, { headers: { Accept: "application/json" } });
      entries = (await answer.json()).entries;
    } catch {
      entries ??= [];
    }
    draw();
  };

  document.addEventListener("keydown", (event) => {
    const asked = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
    if (asked || (event.key === "/" && !typing(event))) {
      event.preventDefault();
      open();
    }
  });
  document.addEventListener("click", (event) => event.target.closest("[data-open-palette]") && open());
  input.addEventListener("input", () => ((at = 0), draw()));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length) {
      event.preventDefault();
      at = (at + step + shown.length) % shown.length;
      mark();
    } else if (event.key === "Enter" && shown[at]) {
      event.preventDefault();
      location.href = shown[at].href;
    }
  });
}
