// The reading room: one case at a time, with everything around it.
import { LitElement, html, nothing } from "lit";

import { ActiveTime } from "./activity";
import { ApiError, matrix, Offline, request, type Matrix } from "./api";
import { DraftKeeper, unsent, type Content, type SaveState } from "./draft";
import type { Outline } from "./engine/overlay";
import { activate, start } from "./engine/setup";
import { Stage } from "./engine/stage";
import { kept, missing } from "./form";
import { command } from "./keys";
import { connect, type LiveEvent } from "./live";
import type { Answer, Answers, Bundle, Draft, Mark, Page, Run } from "./types";
import { form } from "./ui/form";
import { model, type HeatState } from "./ui/model";
import { HELP, marks, previous, saved, toolbar, top } from "./ui/parts";

const CLIENT = crypto.randomUUID();

export class ReadingRoom extends LitElement {
  static override properties = { page: { attribute: false } };
  declare page: Page;
  private bundle: Bundle | null = null;
  private answers: Answers = {};
  private marks: Mark[] = [];
  private selected: string | null = null;
  private tool = "window";
  private wanted = new Set<string>();
  private digits: string | null = null;
  private fault = "";
  private notice = "";
  private help = false;
  private palette: string | null = null;
  private overlays = true;
  private live = false;
  private waiting = 0;
  private busy = false;
  private finished: "submitted" | "empty" | null = null;
  private keeper: DraftKeeper | null = null;
  private active: ActiveTime | null = null;
  private key = crypto.randomUUID();
  private matrices = new Map<string, Promise<Matrix>>();
  private heat: HeatState = {
    on: false, run: null, image: null, index: 0, row: 64, opacity: 0.55, threshold: 0.1, smooth: true, map: "inferno", present: false, probe: null,
  };
  private readonly stage = new Stage(
    (list) => { this.marks = list; this.changed(); },
    (id) => { this.selected = id; this.requestUpdate(); },
  );

  protected override createRenderRoot(): HTMLElement {
    return this; // the page's stylesheet holds for everything
  }

  override connectedCallback(): void {
    super.connectedCallback();
    connect((event) => { this.heard(event); }, (open) => { this.live = open; this.requestUpdate(); });
    document.addEventListener("keydown", this.pressed, true);
    for (const name of ["pointermove", "pointerdown", "wheel", "keydown"]) {
      document.addEventListener(name, () => this.active?.touch(performance.now()), { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => { this.active?.seen(!document.hidden, performance.now()); if (document.hidden) void this.keeper?.flush(); });
    window.addEventListener("resize", () => { this.stage.resize(); });
    window.addEventListener("online", () => void this.keeper?.flush());
    setInterval(() => { this.requestUpdate(); }, 1000);
    void this.open();
  }

  // --- a case ----------------------------------------------------------------------------------
  private async open(): Promise<void> {
    await this.updateComplete;
    try {
      const path = this.page.assignment ? `/api/v1/assignments/${this.page.assignment}/` : `/api/v1/studies/${this.page.study_uid}/bundle/`;
      const [bundle, started] = await Promise.all([request<Bundle>("GET", path), start()]);
      this.notice = started.notice;
      this.begin(bundle);
      this.requestUpdate();
      await this.updateComplete;
      const root = this.querySelector<HTMLElement>(".views");
      if (!root) return;
      await this.stage.open(bundle, root, (view, words) => { this.broken(view.element, words); });
      this.stage.restore(this.marks);
      for (const view of this.stage.views) {
        view.element.addEventListener("pointermove", (e) => { this.probe(view.id, e.offsetX, e.offsetY); });
        view.element.addEventListener("focus", () => { void this.showModel(); });
      }
      await this.showModel();
      this.stage.views[0]?.element.focus({ preventScroll: true });
      document.body.dataset["ready"] = "true";
      this.preload();
    } catch (error) {
      this.fault = error instanceof ApiError && error.status === 404 ? "This case is not yours to read, or it does not exist." : error instanceof Error ? error.message : "The case cannot be opened.";
    }
    this.requestUpdate();
  }

  private begin(bundle: Bundle): void {
    this.bundle = bundle;
    this.fault = "";
    this.finished = bundle.submitted_at ? "submitted" : null;
    this.wanted.clear();
    this.key = crypto.randomUUID();
    this.heat = { ...this.heat, on: false, run: null, image: null, probe: null };
    const local = bundle.id ? unsent(localStorage, bundle.id) : null;
    const draft = bundle.draft;
    this.answers = { ...(local ?? draft)?.answers };
    this.marks = [...((local ?? draft)?.marks ?? [])];
    const begun = Math.max(draft?.active_ms ?? 0, local?.active_ms ?? 0);
    this.active = bundle.id && !bundle.submitted_at ? new ActiveTime(begun, performance.now()) : null;
    this.keeper = bundle.id && !bundle.submitted_at ? new DraftKeeper(bundle.id, draft?.revision ?? 0, CLIENT, () => { this.requestUpdate(); }) : null;
    if (local && local.revision >= (draft?.revision ?? 0)) this.keeper?.keep(this.content());
    this.digits = bundle.protocol.form.find((q) => q.type === "choice")?.key ?? null;
  }

  private broken(element: HTMLElement, words: string): void {
    const note = document.createElement("div");
    note.className = "broken";
    note.setAttribute("role", "alert");
    note.textContent = words;
    const again = document.createElement("button");
    again.textContent = "Try again";
    again.onclick = () => void this.open();
    note.append(again);
    element.parentElement?.append(note);
  }

  private preload(): void {
    const next = this.bundle?.next;
    if (next) void fetch(`/dicomweb/studies/${next.study_uid}/metadata`, { headers: { Accept: "application/dicom+json" }, priority: "low" } as RequestInit);
  }

  private content(): Content {
    return { answers: this.answers, marks: this.marks, active_ms: this.active?.value(performance.now()) ?? 0 };
  }

  private changed(): void {
    this.keeper?.keep(this.content());
    this.requestUpdate();
  }

  private set(key: string, value: Answer | null): void {
    if (this.finished) return;
    const rest = Object.fromEntries(Object.entries(this.answers).filter(([other]) => other !== key));
    this.answers = value === null ? rest : { ...rest, [key]: value };
    this.wanted.delete(key);
    const question = this.bundle?.protocol.form.find((q) => q.key === key);
    if (question?.type === "choice") {
      const all = this.bundle?.protocol.form.filter((q) => q.type === "choice") ?? [];
      this.digits = all.find((q) => this.answers[q.key] === undefined)?.key ?? key;
    }
    this.changed();
  }

  private async submit(): Promise<void> {
    const bundle = this.bundle;
    if (!bundle?.id || this.finished || this.busy) return;
    const left = missing(bundle.protocol.form, this.answers);
    if (left.length) {
      this.wanted = new Set(left.map((q) => q.key));
      this.requestUpdate();
      await this.updateComplete;
      this.querySelector<HTMLElement>(".question.wanted button, .question.wanted input")?.focus();
      return;
    }
    this.busy = true;
    this.fault = "";
    this.requestUpdate();
    await this.keeper?.flush();
    try {
      const body = { ...this.content(), answers: kept(bundle.protocol.form, this.answers), key: this.key };
      const answer = await request<{ next: { id: string; url: string } | null }>("POST", `/api/v1/assignments/${bundle.id}/submit/`, body);
      this.keeper?.stop();
      this.busy = false;
      if (answer.next) {
        this.page = { ...this.page, assignment: answer.next.id };
        history.pushState(null, "", answer.next.url);
        document.body.dataset["ready"] = "false";
        // opening the page takes the case; then it is opened here without a reload
        await fetch(answer.next.url, { credentials: "same-origin" });
        await this.open();
      } else {
        this.finished = "empty";
        this.stage.close();
      }
    } catch (error) {
      this.busy = false;
      if (error instanceof ApiError && error.status === 422) {
        const fields = (error.body["fields"] ?? {}) as Record<string, string>;
        this.wanted = new Set(Object.keys(fields));
        this.fault = fields["marks"] ?? error.message;
      } else {
        this.fault = error instanceof Offline ? "Not sent: the portal cannot be reached. Your reading is kept; press Enter to try again." : error instanceof Error ? error.message : "Not sent.";
      }
    }
    this.requestUpdate();
  }

  // --- the model's output -----------------------------------------------------------------------
  private async showModel(): Promise<void> {
    const bundle = this.bundle;
    if (!bundle) return;
    const runs = bundle.model.visible ? bundle.model.runs.filter((run) => run.state === "done") : [];
    for (const view of this.stage.views) view.setOutlines(this.overlays ? this.outlines(view.current()?.sop_uid ?? "", runs) : []);
    const run = runs.find((r) => r.function.output_type === "heatmap") ?? null;
    const uid = this.stage.focused()?.current()?.sop_uid;
    const image = run?.images.find((i) => i.sop_uid === uid) ?? run?.images[0] ?? null;
    if (run !== this.heat.run && image) {
      const best = Object.entries(image.global).sort((a, b) => b[1] - a[1])[0]?.[0];
      this.heat = { ...this.heat, index: Math.max(0, image.classes.indexOf(best ?? "")) };
    }
    this.heat = { ...this.heat, run, image };
    for (const view of this.stage.views) {
      const target = run?.images.find((i) => i.sop_uid === view.current()?.sop_uid);
      if (!this.heat.on || !this.overlays || !target) {
        view.setHeat(null);
        continue;
      }
      const path = `${target.matrix}#${this.heat.row}`;
      if (!this.matrices.has(path)) this.matrices.set(path, matrix(target.matrix, this.heat.row));
      const data = await this.matrices.get(path);
      if (data) {
        view.setHeat({ ...this.heat, matrix: data });
        view.repaint();
      }
    }
    this.requestUpdate();
  }

  private outlines(uid: string, runs: Run[]): Outline[] {
    const out: Outline[] = [];
    for (const run of runs) {
      for (const lesion of run.case?.lesions ?? []) {
        if (lesion.sop_uid !== uid) continue;
        const [x0, y0, x1, y1] = lesion.box;
        const points = lesion.polygon ?? ([[x0, y0], [x1, y0], [x1, y1], [x0, y1]] as [number, number][]);
        out.push({ points, closed: true, style: "model", label: `model ${Math.round(lesion.score * 100)} %` });
      }
    }
    this.bundle?.previous.forEach((reader, n) => {
      for (const mark of reader.marks.filter((m) => m.sop_uid === uid)) {
        const [a, b] = mark.points_px;
        const boxed = mark.tool === "rectangle" || mark.tool === "ellipse";
        const points = boxed && a && b ? ([a, [b[0], a[1]], b, [a[0], b[1]]] as [number, number][]) : mark.points_px;
        out.push({ points, closed: boxed || mark.tool === "freehand", style: n ? "second" : "other", label: reader.label });
      }
    });
    return out;
  }

  private probe(id: string, x: number, y: number): void {
    if (!this.heat.on) return;
    const found = this.stage.views.find((v) => v.id === id)?.probe(x, y) ?? null;
    this.heat = { ...this.heat, probe: found };
    this.requestUpdate();
  }

  private setHeat(change: Partial<HeatState>): void {
    this.heat = { ...this.heat, ...change };
    void this.showModel();
  }

  private async reveal(): Promise<void> {
    if (!this.bundle?.id) return;
    this.bundle = { ...this.bundle, model: await request<Bundle["model"]>("POST", `/api/v1/assignments/${this.bundle.id}/reveal/`, {}) };
    await this.showModel();
  }

  private heard(event: LiveEvent): void {
    if (event.type === "worklist.changed") {
      void request<{ items: { id: string }[] }>("GET", "/api/v1/worklist/").then((list) => {
        this.waiting = list.items.filter((i) => i.id !== this.bundle?.id).length;
        this.requestUpdate();
      });
    }
    const bundle = this.bundle;
    if (!bundle || (event.type !== "run.progress" && event.type !== "run.finished") || !bundle.model.visible && bundle.id) return;
    if (!bundle.images.some((i) => i.study_uid === event.data["study_uid"])) return;
    if (event.type === "run.progress") {
      const run = bundle.model.runs.find((r) => r.id === event.data["run"]);
      if (run) Object.assign(run, { progress: event.data["progress"], stage: event.data["stage"], state: "running" });
      this.requestUpdate();
    } else {
      const path = bundle.id ? `/api/v1/assignments/${bundle.id}/` : `/api/v1/studies/${this.page.study_uid}/bundle/`;
      void request<Bundle>("GET", path).then((fresh) => {
        this.bundle = { ...bundle, model: fresh.model };
        void this.showModel();
      });
    }
  }

  // --- commands ------------------------------------------------------------------------------------
  private readonly pressed = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const typing = /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target.tagName === "INPUT" && (target as HTMLInputElement).type !== "range");
    if (event.key === "Escape") {
      this.help = false;
      this.palette = null;
      this.requestUpdate();
      return;
    }
    const modifier = event.ctrlKey || event.metaKey;
    if ((typing && !(modifier && event.key.toLowerCase() === "k")) || event.altKey) return;
    if ((event.key === "Enter" || event.key === " ") && (target.tagName === "BUTTON" || target.tagName === "A")) return;
    if (target.tagName === "INPUT" && event.key.startsWith("Arrow")) return;
    const found = command(event.key, modifier, this.finished ? [] : (this.bundle?.protocol.form ?? []), this.digits);
    if (!found) return;
    event.preventDefault();
    if (found.kind === "tool") this.use(found.tool);
    else if (found.kind === "answer") this.set(found.key, found.value);
    else this.act(found.action);
  };

  private use(tool: string): void {
    this.tool = tool;
    activate(tool);
    this.requestUpdate();
  }

  private act(action: string): void {
    if (action === "submit") void this.submit();
    else if (action === "help") this.help = !this.help;
    else if (action === "palette") this.palette = this.palette === null ? "" : null;
    else if (action === "heatmap") this.setHeat({ on: !this.heat.on });
    else if (action === "overlays") {
      this.overlays = !this.overlays;
      this.querySelector(".views")?.classList.toggle("bare", !this.overlays);
      void this.showModel();
    } else if (action === "remove") { if (this.selected && !this.finished) this.stage.remove(this.selected); }
    else if (action === "undo") this.stage.undo();
    else this.stage.act(action);
    this.requestUpdate();
  }

  private conflict(server: Draft): unknown {
    const take = (content: Content): void => {
      this.answers = { ...content.answers };
      this.marks = [...content.marks];
      this.keeper?.resolve(server.revision, this.content());
      void this.open();
    };
    return html`<div class="conflict" role="alertdialog" aria-label="Changed elsewhere"><p>This reading was changed in another window.</p>
      <button type="button" class="button" @click=${() => { this.keeper?.resolve(server.revision, this.content()); }}>Keep what is here</button>
      <button type="button" class="button" @click=${() => { take({ ...server }); }}>Take the other</button></div>`;
  }

  private paletteView(): unknown {
    if (this.palette === null) return nothing;
    const entries: [string, () => void][] = [
      ...["window", "zoom", "pan", "length", "rectangle", "ellipse", "freehand", "arrow"].map((t) => [t, () => { this.use(t); }] as [string, () => void]),
      ...["invert", "reset", "heatmap", "overlays", "undo", "submit", "help"].map((a) => [a, () => { this.act(a); }] as [string, () => void]),
      ["worklist", () => { location.href = "/worklist/"; }],
      ["home", () => { location.href = "/"; }],
    ];
    const found = entries.filter(([name]) => name.includes(this.palette?.toLowerCase() ?? ""));
    const run = (action: () => void): void => { this.palette = null; action(); this.requestUpdate(); };
    return html`<dialog open class="sheet" aria-label="Find a command"><input type="text" aria-label="Find a command" placeholder="Find a command" .value=${this.palette}
      @input=${(e: Event) => { this.palette = (e.target as HTMLInputElement).value; this.requestUpdate(); }}
      @keydown=${(e: KeyboardEvent) => { if (e.key === "Enter" && found[0]) { e.stopPropagation(); run(found[0][1]); } }}>
      ${found.map(([name, action]) => html`<button type="button" @click=${() => { run(action); }}>${name}</button>`)}</dialog>`;
  }

  protected override updated(): void {
    if (this.palette !== null) this.querySelector<HTMLInputElement>(".sheet input")?.focus();
  }

  protected override render(): unknown {
    const bundle = this.bundle;
    const now = performance.now();
    const state: SaveState | null = this.keeper?.state ?? null;
    return html`${top(bundle, this.active?.value(now) ?? null, this.live, this.waiting, (a) => { this.act(a); })}
      <p class="small-screen">The reading room needs a larger screen; the images are shown all the same.</p>
      <main class="body">
        <div class="stage"><div class="views" aria-label="Images"></div>
          ${this.notice ? html`<p class="notice">${this.notice}</p>` : nothing}
          ${this.fault && !bundle ? html`<div class="empty-room" role="alert"><p>${this.fault}</p><a class="button" href="/worklist/">To the worklist</a></div>` : nothing}
          ${this.finished === "empty" ? html`<div class="empty-room" data-testid="done"><p>Submitted. Nothing else waits for you.</p><a class="button" href="/worklist/">To the worklist</a></div>` : nothing}</div>
        ${bundle ? html`<aside class="side" aria-label="Findings and form">
          ${bundle.why && bundle.kind !== "first" ? html`<p class="why">${bundle.why}</p>` : nothing}
          ${previous(bundle.previous, bundle)}
          ${bundle.id ? marks(bundle, this.marks, this.selected, Boolean(this.finished), {
            select: (id) => { this.stage.select(id); }, remove: (id) => { this.stage.remove(id); }, describe: (id, change) => { this.stage.describe(id, change); },
          }) : nothing}
          ${bundle.protocol.form.length ? html`<section class="panel-part"><h2>Reading form</h2>${form({ form: bundle.protocol.form, answers: this.answers, wanted: this.wanted, locked: Boolean(this.finished), set: (k, v) => { this.set(k, v); } })}</section>` : nothing}
          ${model({ bundle, heat: this.heat, set: (c) => { this.setHeat(c); }, reveal: () => void this.reveal() })}
          ${bundle.id ? html`<div class="end">${state?.kind === "conflict" ? this.conflict(state.server) : state ? saved(state, Date.now()) : nothing}
            ${this.fault ? html`<p class="fault" role="alert">${this.fault}</p>` : nothing}
            ${this.finished ? html`<p class="muted">Submitted.</p>` : html`<button type="button" class="button primary" data-testid="submit" ?disabled=${this.busy} @click=${() => void this.submit()}>Submit <kbd>Enter</kbd></button>`}</div>` : nothing}
        </aside>` : nothing}
      </main>
      ${toolbar(this.tool, bundle?.protocol.tools ?? [], (t) => { this.use(t); }, (a) => { this.act(a); })}
      ${this.help ? html`<dialog open class="sheet" aria-label="Keys"><h2>Keys</h2><dl>${HELP.map(([k, w]) => html`<div><dt><kbd>${k}</kbd></dt><dd>${w}</dd></div>`)}</dl>
        <button type="button" class="button" @click=${() => { this.act("help"); }}>Close</button></dialog>` : nothing}
      ${this.paletteView()}`;
  }
}
customElements.define("reading-room", ReadingRoom);
