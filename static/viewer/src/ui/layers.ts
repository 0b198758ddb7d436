// The list "Other systems": what came with the scan from elsewhere, each thing switched on and off.
import { html, nothing, svg, type TemplateResult } from "lit";

import { chain } from "../engine/foreign";
import { about, best, lines, type Entry, type Line } from "../foreign";

const MOST = 40; // lines of a layer in the panel; the scan's page has them all

export interface LayersProps {
  entries: Entry[];
  study: string;
  where: (uid: string, frame: number) => string | null; // in words; null for what does not hang here
  toggle: (uid: string) => void;
  go: (uid: string, frame: number) => void;
  window: (entry: Entry) => void;
}

function one(line: Line, props: LayersProps): TemplateResult {
  const seen = line.places.flatMap((place) => {
    const words = props.where(place.sop_uid, place.frame);
    return words === null ? [] : [{ ...place, words }];
  });
  const place = best(seen);
  const more = seen.length > 1 ? ` and ${seen.length - 1} more` : "";
  const words = place ? `${place.words}${more}` : line.places.length ? "on an image that does not hang here" : "";
  return html`<li>${place ? html`<button type="button" class="place" title="Show where" @click=${() => { props.go(place.sop_uid, place.frame); }}>${line.name} <span class="muted">${words}</span></button>`
    : html`<span>${line.name} <span class="muted">${words}</span></span>`}
    ${line.said.map((part) => html`<span class="muted said">${part}</span>`)}</li>`;
}

function contents(entry: Entry, props: LayersProps): TemplateResult | typeof nothing {
  if (entry.fault) return html`<p class="fault" role="alert">${entry.fault}</p>`;
  if (!entry.on) return nothing;
  const { data, ref } = entry;
  if (!data) return html`<p class="muted">Fetching</p>`;
  const all = lines(data);
  const windows = Object.keys(data.windows).some((uid) => props.where(uid, 1) !== null);
  return html`<ul class="contents">${all.slice(0, MOST).map((line) => one(line, props))}</ul>
    ${all.length > MOST ? html`<a href="/scans/${props.study}/layers/${ref.sop_uid}/">and ${all.length - MOST} more</a>` : nothing}
    ${windows ? html`<button type="button" class="choice" @click=${() => { props.window(entry); }}>Use its window</button>` : nothing}
    ${Object.entries(data.left_out).map(([why, count]) => html`<p class="muted">Not shown: ${why} (${count})</p>`)}`;
}

export function layers(props: LayersProps): TemplateResult | typeof nothing {
  if (!props.entries.length) return nothing;
  return html`<section class="panel-part" data-testid="layers"><h2>Other systems <kbd>O</kbd></h2>
    <ul class="layers">${props.entries.map((entry, n) => html`<li>
      <button type="button" class="layer" data-layer=${entry.ref.sop_uid} aria-pressed=${entry.on} @click=${() => { props.toggle(entry.ref.sop_uid); }}>
        <svg class="swatch" viewBox="0 0 40 12" aria-hidden="true">${svg`<path class=${chain(n + 1)} d="M0 6 H40"/>`}</svg>
        <span class="layer-name">${n + 1} ${entry.ref.title}</span> <span class="state">${entry.on ? "on" : "off"}</span>
        <span class="muted about">${about(entry)}</span></button>
      ${contents(entry, props)}</li>`)}</ul></section>`;
}
