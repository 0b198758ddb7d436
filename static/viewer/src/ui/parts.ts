// Smaller parts of the room: marks, other readers, help, palette.
import { html, nothing, type TemplateResult } from "lit";

import { clock } from "../activity";
import type { SaveState } from "../draft";
import type { Bundle, Mark, Previous } from "../types";

export const HELP: [string, string][] = [
  ["W", "window: drag"], ["Z", "zoom"], ["P", "pan"], ["M", "magnifier"], ["L", "length"], ["R", "rectangle"],
  ["E", "ellipse"], ["F", "freehand"], ["A", "arrow"], ["I", "invert"], ["0", "reset the image"], ["+ −", "zoom"],
  ["↑ ↓", "scroll the stack"], ["H", "heat map"], ["Space", "overlays on and off"], ["Tab", "next image"],
  ["Del", "remove the selected mark"], ["Ctrl Z", "undo"], ["Y N", "answer the first question"],
  ["1 … 5", "answer the question with numbers"], ["Enter", "submit"], ["Ctrl K", "find a command"], ["?", "this sheet"],
];

const TOOL_WORDS: Record<Mark["tool"], string> = {
  length: "Length", rectangle: "Rectangle", ellipse: "Ellipse", freehand: "Outline", arrow: "Arrow",
};

export function marks(
  bundle: Bundle,
  list: Mark[],
  selected: string | null,
  locked: boolean,
  on: { select: (id: string) => void; remove: (id: string) => void; describe: (id: string, change: Partial<Mark>) => void },
): TemplateResult {
  const where = (mark: Mark): string => {
    const ref = bundle.images.find((i) => i.sop_uid === mark.sop_uid);
    return [ref?.laterality, ref?.view].filter(Boolean).join(" ") || (ref?.modality ?? "");
  };
  return html`<section class="panel-part"><h2>Findings</h2>
    ${list.length ? nothing : html`<p class="muted">Draw with R, E, F or L.</p>`}
    <ol class="marks" data-testid="mark-list">${list.map((mark, n) => html`
      <li class=${mark.id === selected ? "selected" : ""}>
        <button type="button" class="mark-name" @click=${() => { on.select(mark.id); }}>${n + 1} ${TOOL_WORDS[mark.tool]} <span class="muted">${where(mark)}
          ${mark.measurements["length_mm"] ? html` ${mark.measurements["length_mm"]} mm` : nothing}</span></button>
        ${locked ? nothing : html`<button type="button" class="quiet" aria-label="Remove mark ${n + 1}" @click=${() => { on.remove(mark.id); }}>×</button>`}
        ${bundle.protocol.labels.length ? html`<select aria-label="Class of mark ${n + 1}" ?disabled=${locked}
          @change=${(e: Event) => { on.describe(mark.id, { label: (e.target as HTMLSelectElement).value || null }); }}>
          <option value="">class</option>${bundle.protocol.labels.map((l) => html`<option value=${l.code} ?selected=${mark.label === l.code}>${l.name}</option>`)}</select>` : nothing}
        <label class="rating"><input type="range" min="0" max="100" aria-label="Suspicion of mark ${n + 1}" ?disabled=${locked} .value=${String(mark.rating ?? 50)}
          class=${mark.rating === null ? "unset" : ""} @input=${(e: Event) => { on.describe(mark.id, { rating: Number((e.target as HTMLInputElement).value) }); }}>
          <output class="num">${mark.rating === null ? "–" : `${mark.rating} %`}</output></label>
      </li>`)}</ol></section>`;
}

export function previous(list: Previous[], bundle: Bundle): TemplateResult {
  if (!list.length) return html``;
  const words = (value: unknown): string => (value === true ? "yes" : value === false ? "no" : Array.isArray(value) ? value.join(", ") : String(value ?? "–"));
  return html`<section class="panel-part" data-testid="previous"><h2>Readings so far</h2><table class="scores"><thead><tr><td></td>${list.map((p, n) => html`<th scope="col" class=${n ? "second" : "other"}>${p.label}</th>`)}</tr></thead>
    <tbody>${bundle.protocol.form.map((q) => html`<tr class=${new Set(list.map((p) => words(p.answers[q.key]))).size > 1 ? "differs" : ""}>
      <th scope="row">${q.label}</th>${list.map((p) => html`<td>${words(p.answers[q.key])}</td>`)}</tr>`)}</tbody></table></section>`;
}

export function saved(state: SaveState, now: number): TemplateResult {
  const words =
    state.kind === "saved" ? `saved · ${Math.max(0, (now - state.at) / 1000).toFixed(now - state.at < 10_000 ? 1 : 0)} s ago`
    : state.kind === "saving" ? "saving"
    : state.kind === "offline" ? "not connected: kept in this browser, sent when the portal answers"
    : state.kind === "error" ? state.message : "changed in another window";
  return html`<p class="saved ${state.kind}" data-testid="saved" data-state=${state.kind}>${words}</p>`;
}

export function top(bundle: Bundle | null, active: number | null, live: boolean, waiting: number, on: (action: string) => void): TemplateResult {
  const c = bundle?.case;
  const number = c?.number ? `case ${c.number}${c.total ? ` of ${c.total}` : ""}` : "scan";
  const kind = bundle?.kind === "second" ? "second reading" : bundle?.kind === "arbitration" ? "arbitration" : bundle?.mode?.replace("_", " ");
  return html`<header class="top"><a class="back" href=${bundle?.id ? "/worklist/" : "/scans/"} title="Back">‹</a>
    <h1>${bundle ? [number, bundle.programme?.name ?? c?.description, bundle.id ? kind : null].filter(Boolean).join(" · ") : "Loading"}</h1>
    <span class="live ${live ? "on" : "off"}" role="status" title=${live ? "connected" : "not connected; work goes on in this browser"}>${live ? "" : "not connected"}</span>
    ${waiting ? html`<a class="waiting" href="/worklist/">${waiting} waiting</a>` : nothing}
    ${active === null ? nothing : html`<span class="num clock" title="active time">${clock(active)} active</span>`}
    <button type="button" class="quiet" @click=${() => { on("palette"); }} aria-label="Find a command"><kbd>Ctrl K</kbd></button>
    <button type="button" class="quiet" @click=${() => { on("help"); }} aria-label="Keys">?</button></header>`;
}

export function toolbar(tool: string, enabled: string[], on: (tool: string) => void, act: (action: string) => void): TemplateResult {
  const entries: [string, string, string][] = [
    ["window", "W", "window"], ["zoom", "Z", "zoom"], ["pan", "P", "pan"], ["magnify", "M", "magnify"], ["length", "L", "length"], ["rectangle", "R", "rectangle"],
    ["ellipse", "E", "ellipse"], ["freehand", "F", "freehand"], ["arrow", "A", "arrow"],
  ];
  const always = new Set(["window", "zoom", "pan", "magnify", "length"]);
  return html`<footer class="tools"><div class="tools" role="toolbar" aria-label="Tools">
    ${entries.filter(([name]) => always.has(name) || enabled.includes(name)).map(([name, key, word]) => html`
      <button type="button" aria-pressed=${tool === name} data-tool=${name} @click=${() => { on(name); }}><kbd>${key}</kbd> ${word}</button>`)}
    <span class="sep"></span>
    <button type="button" @click=${() => { act("invert"); }}><kbd>I</kbd> invert</button>
    <button type="button" @click=${() => { act("reset"); }}><kbd>0</kbd> reset</button>
    <button type="button" @click=${() => { act("heatmap"); }}><kbd>H</kbd> heat map</button>
    <button type="button" @click=${() => { act("overlays"); }}><kbd>Space</kbd> overlays</button></div></footer>`;
}
