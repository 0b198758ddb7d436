// The reading form.
import { html, nothing, type TemplateResult } from "lit";

import { shown } from "../form";
import type { Answer, Answers, Question } from "../types";

export interface FormProps {
  form: Question[];
  answers: Answers;
  wanted: Set<string>; // questions that still need an answer, shown after a try to submit
  locked: boolean;
  set: (key: string, value: Answer | null) => void;
}

function button(props: FormProps, q: Question, value: Answer, label: string, key = ""): TemplateResult {
  const on = props.answers[q.key] === value;
  return html`<button type="button" class="choice" role="radio" aria-checked=${on} ?disabled=${props.locked}
    @click=${() => { props.set(q.key, on && !q.required ? null : value); }}>${label}${key ? html`<kbd>${key}</kbd>` : nothing}</button>`;
}

function control(props: FormProps, q: Question): TemplateResult {
  const value = props.answers[q.key];
  switch (q.type) {
    case "boolean":
      return html`<div class="choices" role="radiogroup" aria-label=${q.label}>
        ${button(props, q, true, "Yes", "Y")}${button(props, q, false, "No", "N")}</div>`;
    case "choice":
      return html`<div class="choices" role="radiogroup" aria-label=${q.label}>
        ${(q.choices ?? []).map((c) => button(props, q, c.value, c.label))}</div>`;
    case "multi": {
      const list = Array.isArray(value) ? value : [];
      return html`<div class="choices wrap" role="group" aria-label=${q.label}>
        ${(q.choices ?? []).map((c) => {
          const on = list.includes(c.value);
          return html`<button type="button" class="choice" role="checkbox" aria-checked=${on} ?disabled=${props.locked}
            @click=${() => { props.set(q.key, on ? list.filter((v) => v !== c.value) : [...list, c.value]); }}>${c.label}</button>`;
        })}</div>`;
    }
    case "scale": {
      const number = typeof value === "number" ? value : null;
      return html`<div class="scale"><input type="range" id=${`q-${q.key}`} min=${q.min ?? 0} max=${q.max ?? 100} step=${q.step ?? 1}
        .value=${String(number ?? (q.min ?? 0))} ?disabled=${props.locked} class=${number === null ? "unset" : ""}
        @input=${(e: Event) => { props.set(q.key, Number((e.target as HTMLInputElement).value)); }}>
        <output>${number ?? "–"}</output></div>`;
    }
    case "text":
      return html`<textarea id=${`q-${q.key}`} rows="3" maxlength="10000" ?disabled=${props.locked} .value=${typeof value === "string" ? value : ""}
        @input=${(e: Event) => { props.set(q.key, (e.target as HTMLTextAreaElement).value); }}></textarea>`;
  }
}

export function form(props: FormProps): TemplateResult {
  return html`<div class="form" data-testid="form">
    ${props.form.filter((q) => shown(q, props.answers)).map((q) => html`
      <div class="question ${props.wanted.has(q.key) ? "wanted" : ""}" data-question=${q.key}>
        <label for=${`q-${q.key}`}>${q.label}${q.required ? nothing : html` <span class="muted">optional</span>`}</label>
        ${control(props, q)}
        ${props.wanted.has(q.key) ? html`<p class="fault" role="alert">Needs an answer.</p>` : nothing}
      </div>`)}
  </div>`;
}
