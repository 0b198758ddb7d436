// Smaller parts of the room: marks, other readers, the top line and the tools.
import { html, nothing, type TemplateResult } from "lit";

import { clock } from "../activity";
import type { SaveState } from "../draft";
import type { Answers, Bundle, Draft, Mark, Previous } from "../types";

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

/** How long ago, in words that stay as long as possible the same. */
export function ago(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

/** A draft in a few words, to choose between two. */
export function summary(answers: Answers, list: Mark[]): string {
  const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;
  return `${count(Object.keys(answers).length, "answer")}, ${count(list.length, "mark")}`;
}

const KEPT = {
  network: "Not connected. Kept in this browser, sent when the portal answers.",
  session: "Signed out. Kept in this browser; sign in again in another tab and it is sent.",
  server: "The portal is busy. Kept in this browser, sent again soon.",
};

export function saved(state: SaveState, now: number): TemplateResult {
  const words =
    state.kind === "saved" ? `saved · ${ago(now - state.at)}`
    : state.kind === "saving" ? "saving"
    : state.kind === "offline" ? KEPT[state.why]
    : state.kind === "closed" ? "Submitted in another window. Nothing can be changed here."
    : state.kind === "error" ? state.message : "changed in another window";
  return html`<p class="saved ${state.kind}" role="status" data-testid="saved" data-state=${state.kind}>${words}</p>`;
}

/** In place of an image that cannot be shown: why, and to try again. */
export function broken(element: HTMLElement, words: string, again: () => void): void {
  const note = document.createElement("div");
  note.className = "broken";
  note.setAttribute("role", "alert");
  const button = document.createElement("button");
  button.textContent = "Try again";
  button.onclick = again;
  note.append(words, button);
  element.parentElement?.append(note);
}

/** Two windows changed the same reading: the reader says which one stays. */
export function conflict(here: Pick<Draft, "answers" | "marks">, there: Draft, keep: () => void, take: () => void): TemplateResult {
  return html`<div class="conflict" role="alertdialog" aria-label="Changed in another window" data-testid="conflict">
    <p><strong>Changed in another window.</strong> Nothing is saved until you choose.</p>
    <dl><div><dt>here</dt><dd>${summary(here.answers, here.marks)}</dd></div><div><dt>there</dt><dd>${summary(there.answers, there.marks)}, ${ago(Date.now() - Date.parse(there.saved_at))}</dd></div></dl>
    <div class="choices"><button type="button" class="button" @click=${keep}>Keep this one</button><button type="button" class="button" @click=${take}>Take the other</button></div></div>`;
}

export interface End {
  state: SaveState | null;
  here: Pick<Draft, "answers" | "marks">;
  fault: string;
  finished: boolean;
  busy: boolean;
  submit: () => void;
  keep: (server: Draft) => void;
  take: () => void;
}

/** The foot of the panel: what is saved, what stands in the way, and submit. */
export function end({ state, here, fault, finished, busy, submit, keep, take }: End): TemplateResult {
  return html`<div class="end">${state?.kind === "conflict" ? conflict(here, state.server, () => { keep(state.server); }, take) : state ? saved(state, Date.now()) : nothing}
    ${fault ? html`<p class="fault" role="alert">${fault}</p>` : nothing}
    ${finished ? html`<p class="muted">Submitted.</p>` : html`<button type="button" class="button primary" data-testid="submit" ?disabled=${busy} @click=${submit}>Submit <kbd>Enter</kbd></button>`}</div>`;
}

/** A case of the reader's that is submitted, and that the model sees otherwise. */
export interface Alerted { id: string; number: number }

export function top(bundle: Bundle | null, active: number | null, live: boolean, waiting: number, alerted: Alerted | null, on: (action: string) => void): TemplateResult {
  const c = bundle?.case;
  const number = c?.number ? `case ${c.number}${c.total ? ` of ${c.total}` : ""}` : "scan";
  const kind = bundle?.kind === "second" ? "second reading" : bundle?.kind === "arbitration" ? "arbitration" : bundle?.mode?.replace("_", " ");
  return html`<header class="top"><a class="back" href=${bundle?.id ? "/worklist/" : "/scans/"} title="Back">‹</a>
    <h1>${bundle ? [number, bundle.programme?.name ?? c?.description, bundle.id ? kind : null].filter(Boolean).join(" · ") : "Loading"}</h1>
    <span class="live ${live ? "on" : "off"}" role="status" title=${live ? "connected" : "not connected; work goes on in this browser"}>${live ? "" : "not connected"}</span>
    ${alerted && alerted.id !== bundle?.id ? html`<a class="waiting" role="status" data-testid="alerted" href="/read/${alerted.id}/">The model differs on case ${alerted.number}: see where</a>` : nothing}
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
