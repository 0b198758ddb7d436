// What floats over the room when it is asked for: the list of keys, and the finder of commands.
import { html, nothing, type TemplateResult } from "lit";

export const HELP: [string, [string, string][]][] = [
  ["Image", [
    ["W", "window: drag"], ["[ ]", "window narrower, wider"], [", .", "darker, brighter"], ["V", "next window preset"], ["Z", "zoom"], ["P", "pan"], ["M", "magnifier"], ["I", "invert"], ["0", "reset the image"], ["+ −", "zoom in, out"],
    ["↑ ↓", "slice by slice"], ["PgUp PgDn", "ten slices"], ["Home End", "first, last slice"], ["Tab", "next image"],
  ]],
  ["Marks", [["L", "length"], ["R", "rectangle"], ["E", "ellipse"], ["F", "freehand"], ["A", "arrow"], ["X", "mark by keys: make or take"], ["← ↑ → ↓", "move it, with Shift grow it"], ["Del", "remove the selected mark"], ["Ctrl Z", "undo"]]],
  ["Form and model", [["Y N", "answer the first question"], ["0 … 9", "answer with a number"], ["A … D", "answer with a letter"], ["Enter", "submit"], ["H", "heat map"], ["O", "to the list of other systems and back"], ["Enter", "in that list: on and off"], ["Space", "overlays on and off"]]],
  ["Room", [["Ctrl K", "find a command"], ["?", "this sheet"], ["Esc", "close"]]],
];

export function help(close: () => void): TemplateResult {
  return html`<dialog open class="sheet wide" aria-label="Keys" data-testid="help"><header><h2>Keys</h2><button type="button" class="quiet" aria-label="Close" @click=${close}><kbd>Esc</kbd></button></header>
    <div class="key-groups">${HELP.map(([title, keys]) => html`<section><h3>${title}</h3><dl>${keys.map(([key, words]) => html`
      <div><dt>${key.split(" ").map((k) => (k === "…" ? html` … ` : html`<kbd>${k}</kbd>`))}</dt><dd>${words}</dd></div>`)}</dl></section>`)}</div></dialog>`;
}

export interface Entry {
  name: string;
  key?: string;
  run: () => void;
}

export interface Finder {
  text: string;
  at: number;
}

export function matching(entries: Entry[], text: string): Entry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => words.every((word) => entry.name.toLowerCase().includes(word)));
}

export function finder(entries: Entry[], state: Finder | null, change: (state: Finder | null) => void): TemplateResult | typeof nothing {
  if (!state) return nothing;
  const found = matching(entries, state.text);
  const at = Math.min(state.at, found.length - 1);
  const use = (entry: Entry | undefined): void => {
    if (!entry) return;
    change(null);
    entry.run();
  };
  const pressed = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) change({ ...state, at: Math.min(Math.max(at + step, 0), found.length - 1) });
    else if (event.key === "Enter") use(found[at]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<dialog open class="sheet finder" aria-label="Find a command" data-testid="finder">
    <input type="text" role="combobox" aria-expanded="true" aria-controls="commands" aria-activedescendant=${found.length ? `command-${at}` : nothing}
      aria-label="Find a command" placeholder="Find a command" autocomplete="off" .value=${state.text}
      @input=${(e: Event) => { change({ text: (e.target as HTMLInputElement).value, at: 0 }); }} @keydown=${pressed}>
    <div id="commands" role="listbox" aria-label="Commands">${found.map((entry, n) => html`
      <div role="option" id=${`command-${n}`} aria-selected=${n === at} @click=${() => { use(entry); }}><span>${entry.name}</span>${entry.key ? html`<kbd>${entry.key}</kbd>` : nothing}</div>`)}
    </div>${found.length ? nothing : html`<p class="muted">No command has that name.</p>`}</dialog>`;
}
