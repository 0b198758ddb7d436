// The model's output: heat-map options, malignancy scores, or why nothing is shown.
import { html, nothing, type TemplateResult } from "lit";

import { MAPS, type MapName } from "../heatmap/colours";
import type { Bundle, Run, RunImage } from "../types";

export interface HeatState {
  on: boolean;
  run: Run | null;
  image: RunImage | null; // of the focused view
  index: number;
  row: number;
  opacity: number;
  threshold: number;
  smooth: boolean;
  map: MapName;
  present: boolean; // only classes that are present
  probe: { value: number; patch: [number, number] } | null;
}

export interface ModelProps {
  bundle: Bundle;
  heat: HeatState;
  set: (change: Partial<HeatState>) => void;
  reveal: () => void;
}

const per = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);

function malignancy(run: Run): TemplateResult {
  const c = run.case;
  if (!c) return html``;
  return html`<div class="call ${c.call ? "positive" : "negative"}">${c.call ? "Recall" : "No recall"}
      <span class="muted">score ${per(c.score)}, threshold ${per(c.threshold)}</span></div>
    <table class="scores"><tbody>
      ${Object.entries(c.sides).map(([side, value]) => html`<tr><th scope="row">${side === "L" ? "Left" : "Right"}</th>
        <td><span class="bar"><span style=${`width:${value * 100}%`}></span></span></td><td class="num">${per(value)}</td></tr>`)}
    </tbody></table>
    ${c.missing_views.length ? html`<p class="muted">Missing: ${c.missing_views.join(", ")}</p>` : nothing}
    ${c.call ? html`<p class="muted">${c.lesions.length} ${c.lesions.length === 1 ? "place" : "places"} outlined</p>` : nothing}`;
}

function heatmaps(props: ModelProps, run: Run): TemplateResult {
  const { heat, set } = props;
  const image = heat.image ?? run.images[0];
  if (!image) return html`<p class="muted">No image of this run is shown.</p>`;
  const list = image.classes.map((name, index) => ({ name, index, p: image.global[name] ?? 0, on: image.present[name] ?? false }));
  const sorted = list.filter((c) => !heat.present || c.on).sort((a, b) => b.p - a.p);
  return html`
    <div class="classes" role="listbox" aria-label="Classes" data-testid="heatmap-classes">
      ${sorted.map((c) => html`<button type="button" role="option" aria-selected=${heat.on && c.index === heat.index}
        @click=${() => { set({ on: true, index: c.index }); }}>
        <span>${c.name.replace("_", " ")}</span><span class="bar"><span style=${`width:${c.p * 100}%`}></span></span>
        <span class="num">${c.p.toFixed(2)}</span><span class="dot ${c.on ? "on" : ""}" title=${c.on ? "present" : "absent"}>${c.on ? "●" : "○"}</span>
      </button>`)}
      ${sorted.length ? nothing : html`<p class="muted">No class is held to be present.</p>`}
    </div>
    <div class="options">
      <button type="button" class="choice" data-testid="heatmap-toggle" aria-pressed=${heat.on} @click=${() => { set({ on: !heat.on }); }}>Heat map <kbd>H</kbd></button>
      <label class="check"><input type="checkbox" .checked=${heat.present} @change=${(e: Event) => { set({ present: (e.target as HTMLInputElement).checked }); }}> present only</label>
      <label class="check"><input type="checkbox" .checked=${heat.smooth} @change=${(e: Event) => { set({ smooth: (e.target as HTMLInputElement).checked }); }}> smooth</label>
      <div class="choices" role="radiogroup" aria-label="Rows">${image.rows.map((n) => html`<button type="button" class="choice" role="radio" aria-checked=${heat.row === n}
        @click=${() => { set({ row: n, on: true }); }}>${n}</button>`)}</div>
      <label>Opacity <input type="range" min="0" max="1" step="0.05" .value=${String(heat.opacity)} @input=${(e: Event) => { set({ opacity: Number((e.target as HTMLInputElement).value) }); }}></label>
      <label>From <input type="range" min="0" max="1" step="0.02" .value=${String(heat.threshold)} @input=${(e: Event) => { set({ threshold: Number((e.target as HTMLInputElement).value) }); }}> <output class="num">${heat.threshold.toFixed(2)}</output></label>
      <label>Colours <select @change=${(e: Event) => { set({ map: (e.target as HTMLSelectElement).value as MapName }); }}>
        ${MAPS.map((m) => html`<option value=${m} ?selected=${heat.map === m}>${m}</option>`)}</select></label>
      <p class="muted num" aria-live="off">${heat.probe ? `value ${heat.probe.value.toFixed(2)} at patch (${heat.probe.patch.join(", ")})` : "move over the image to read values"}</p>
    </div>`;
}

function one(props: ModelProps, run: Run): TemplateResult {
  const head = html`<h3>${run.function.name} <span class="muted">${run.function.version}</span></h3>`;
  if (run.state === "failed") return html`${head}<p class="fault">The function failed: ${run.error?.message ?? "no reason given"}</p>`;
  if (run.state === "held") return html`${head}<p class="muted">${run.error?.message ?? "Waits for a decision about the scan."}</p>`;
  if (run.state !== "done") {
    return html`${head}<div class="running"><progress max="1" .value=${run.progress}></progress><span class="muted">${run.stage || "waiting"}</span></div>`;
  }
  return html`${head}${run.function.output_type === "malignancy" ? malignancy(run) : heatmaps(props, run)}`;
}

export function model(props: ModelProps): TemplateResult {
  const { bundle } = props;
  if (!bundle.model.visible) {
    return html`<section class="panel-part" data-testid="model"><h2>Model</h2><p class="muted">${bundle.model.reason}</p>
      ${bundle.mode === "on_demand" && bundle.id ? html`<button type="button" class="button" data-testid="reveal" @click=${props.reveal}>Show the model's output</button>` : nothing}</section>`;
  }
  return html`<section class="panel-part" data-testid="model"><h2>Model</h2>${bundle.model.runs.map((run) => one(props, run))}
    <p class="research">Model output. Research use only, not a diagnosis.</p></section>`;
}
