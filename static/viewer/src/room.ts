// The reading room: one case at a time, with everything around it.
import { LitElement, html, nothing } from "lit";

import { ActiveTime } from "./activity";
import { ApiError, Offline, request } from "./api";
import { DraftKeeper, unsent, type Content } from "./draft";
import { activate, start } from "./engine/setup";
import type { Over } from "./engine/overlay";
import { Stage } from "./engine/stage";
import { across, ARROWS, walk } from "./focus";
import { kept, missing } from "./form";
import { HeatMaps } from "./heatmap/shown";
import { command } from "./keys";
import { Layers } from "./layers";
import { aboutOutput, askedBack, connect, progressed, type LiveEvent } from "./live";
import { alike } from "./marks";
import { outlines } from "./outlines";
import type { Answer, Answers, Bundle, Draft, Mark, Page, Run } from "./types";
import { commands } from "./ui/commands";
import { form } from "./ui/form";
import { layers } from "./ui/layers";
import { model, type HeatState } from "./ui/model";
import { broken, end, marks, previous, toolbar, top, type Alerted } from "./ui/parts";
import { finder, help, type Finder } from "./ui/sheets";

const CLIENT = crypto.randomUUID();
const NOT_SENT = "Not sent: the portal cannot be reached. Your reading is kept; press Enter to try again.";

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
  private palette: Finder | null = null;
  private cameFrom: HTMLElement | null = null; // what had the focus before the finder or the layers
  private moving: string | null = null; // the mark that the arrow keys move
  private dirty = false; // the reader changed something since the case was opened
  private overlays = true;
  private live = false;
  private alerted: Alerted | null = null;
  private waiting = 0;
  private busy = false;
  private finished: "submitted" | "empty" | null = null;
  private keeper: DraftKeeper | null = null;
  private active: ActiveTime | null = null;
  private key = crypto.randomUUID();
  private readonly layers = new Layers(() => { this.drawOver(); });
  private readonly stage = new Stage(
    (list) => {
      // restored marks are told again when they are drawn and measured: nothing to save before the reader changed something
      const same = alike(this.marks, list) && !this.dirty;
      this.marks = list;
      if (same) this.requestUpdate();
      else this.changed();
    },
    (id) => { this.selected = id; this.requestUpdate(); },
  );
  private readonly heat = new HeatMaps(this.stage);

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
    window.addEventListener("popstate", () => { location.reload(); }); // back to the case before
    window.addEventListener("online", () => void this.keeper?.flush());
    setInterval(() => { this.requestUpdate(); }, 1000);
    void this.open();
  }

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
      await this.stage.open(bundle, root, (view, words) => { broken(view.element, words, () => void this.open()); });
      this.stage.restore(this.marks);
      for (const view of this.stage.views) {
        view.element.addEventListener("pointermove", (e) => { if (this.heat.probe(view.id, e.offsetX, e.offsetY)) this.requestUpdate(); });
        view.element.addEventListener("focus", () => { void this.showModel(); });
      }
      await this.showModel();
      this.stage.views[0]?.element.focus({ preventScroll: true });
      document.body.dataset["ready"] = "true";
      this.preload();
      void this.layers.learn();
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
    this.layers.open(bundle.layers);
    this.moving = null;
    this.dirty = false;
    this.key = crypto.randomUUID();
    this.heat.clear();
    const local = bundle.id ? unsent(localStorage, bundle.id) : null;
    const draft = bundle.draft;
    this.answers = { ...(local ?? draft)?.answers };
    this.marks = [...((local ?? draft)?.marks ?? [])];
    const begun = Math.max(draft?.active_ms ?? 0, local?.active_ms ?? 0);
    this.active = bundle.id && !bundle.submitted_at ? new ActiveTime(begun, performance.now()) : null;
    this.keeper = bundle.id && !bundle.submitted_at ? new DraftKeeper(bundle.id, draft?.revision ?? 0, CLIENT, () => { this.kept(); }) : null;
    if (local) this.keeper?.resume(local, draft);
    this.digits = bundle.protocol.form.find((q) => q.type === "choice")?.key ?? null;
  }

  private hideNotice(): void {
    this.notice = "";
    this.requestUpdate();
    void this.updateComplete.then(() => { this.stage.resize(); });
  }

  private kept(): void {
    if (this.keeper?.state.kind === "closed") this.finished = "submitted";
    this.requestUpdate();
  }

  private preload(): void {
    const next = this.bundle?.next;
    if (next) void fetch(`/dicomweb/studies/${next.study_uid}/metadata`, { headers: { Accept: "application/dicom+json" }, priority: "low" } as RequestInit);
  }

  private content(): Content {
    return { answers: this.answers, marks: this.marks, active_ms: this.active?.value(performance.now()) ?? 0 };
  }

  private changed(): void {
    this.dirty = true;
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
    // the draft goes first, with its revision: what another window saved since is never overwritten unseen
    this.keeper?.keep(this.content());
    await this.keeper?.flush();
    const state = this.keeper?.state.kind;
    if (state === "conflict" || state === "closed" || state === "offline") {
      this.busy = false;
      this.fault = state === "offline" ? NOT_SENT : "";
      this.requestUpdate();
      await this.updateComplete;
      this.querySelector<HTMLElement>(".conflict button")?.focus();
      return;
    }
    try {
      const body = { ...this.content(), answers: kept(bundle.protocol.form, this.answers), key: this.key, revision: this.keeper?.revision ?? 0, display: this.stage.display(new Set(this.marks.map((m) => m.sop_uid))) };
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
      if (error instanceof ApiError && error.body["draft"]) this.keeper?.conflict(error.body["draft"] as Draft);
      else if (error instanceof ApiError && error.status === 422) {
        const fields = (error.body["fields"] ?? {}) as Record<string, string>;
        this.wanted = new Set(Object.keys(fields));
        this.fault = fields["marks"] ?? error.message;
      } else {
        this.fault = error instanceof Offline ? NOT_SENT : error instanceof Error ? error.message : "Not sent.";
      }
    }
    this.requestUpdate();
  }

  // --- the model's output -----------------------------------------------------------------------
  private readonly runs = (): Run[] => (this.bundle?.model.visible ? this.bundle.model.runs.filter((run) => run.state === "done") : []);

  /** Outlines of the model, of other readers and of other systems. */
  private drawOver(): void {
    const { bundle, layers: others } = this;
    const runs = this.runs();
    const over = (uid: string, frame: number): Over => ({ outlines: bundle ? outlines(bundle, uid, frame, runs) : [], foreign: others.shapes(uid, frame) });
    for (const view of this.stage.views) view.setOver(this.overlays ? over : null);
    this.requestUpdate();
  }

  private async showModel(): Promise<void> {
    if (!this.bundle) return;
    this.drawOver();
    await this.heat.show(this.runs(), this.overlays);
    this.requestUpdate();
  }

  private setHeat(change: Partial<HeatState>): void {
    this.heat.state = { ...this.heat.state, ...change };
    void this.showModel();
  }

  private async reveal(): Promise<void> {
    if (!this.bundle?.id) return;
    await request("POST", `/api/v1/assignments/${this.bundle.id}/reveal/`, {});
    await this.refreshModel(); // with the layers that were kept back until now
  }

  private heard(event: LiveEvent): void {
    if (event.type === "worklist.changed") {
      void request<{ items: { id: string }[] }>("GET", "/api/v1/worklist/").then((list) => {
        this.waiting = list.items.filter((i) => i.id !== this.bundle?.id).length;
        this.requestUpdate();
      });
    } else if (this.bundle && aboutOutput(event, this.bundle)) {
      if (!progressed(event, this.bundle)) void this.refreshModel();
    } else if (event.type === "reading.alerted") {
      this.alerted = { id: String(event.data["assignment"]), number: Number(event.data["number"]) };
    } else this.notice = askedBack(event) || this.notice;
    this.requestUpdate();
  }

  private async refreshModel(): Promise<void> {
    const id = this.bundle?.id;
    const fresh = await request<Bundle>("GET", id ? `/api/v1/assignments/${id}/` : `/api/v1/studies/${this.page.study_uid}/bundle/`);
    if (!this.bundle || this.bundle.id !== id) return; // another case was opened meanwhile
    this.bundle = { ...this.bundle, model: fresh.model };
    this.layers.renew(fresh.layers);
    void this.layers.learn();
    await this.showModel();
  }

  // --- commands ------------------------------------------------------------------------------------
  private readonly pressed = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const typing = /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target.tagName === "INPUT" && (target as HTMLInputElement).type !== "range");
    if (event.key === "Escape") {
      this.help = false;
      this.moving = null;
      if (this.palette) this.find(null);
      else if (typing) target.blur();
      else if (target.closest(".layers")) this.toLayers();
      this.requestUpdate();
      return;
    }
    const modifier = event.ctrlKey || event.metaKey;
    if ((typing && !(modifier && event.key.toLowerCase() === "k")) || event.altKey) return;
    if ((event.key === "Enter" || event.key === " ") && (target.tagName === "BUTTON" || target.tagName === "A")) return;
    if (target.tagName === "INPUT" && event.key.startsWith("Arrow")) return;
    if (walk(event, "button[data-layer]", this)) return;
    const step = this.moving && ARROWS[event.key];
    if (this.moving && step) {
      event.preventDefault();
      this.stage.nudge(this.moving, ...step, event.shiftKey);
      return;
    }
    const found = command(event.key, modifier, this.finished ? [] : (this.bundle?.protocol.form ?? []), this.digits);
    if (!found) return;
    event.preventDefault();
    if (found.kind === "tool") this.use(found.tool);
    else if (found.kind === "answer") this.set(found.key, found.value);
    else this.act(found.action);
  };

  /** By keys: take hold of the selected mark, or make one with the tool in use. */
  private placeMark(): void {
    const enabled = this.bundle?.protocol.tools ?? [];
    const tool = enabled.find((t) => t === this.tool) ?? enabled.find((t) => t === "rectangle") ?? enabled[0];
    if (!tool || this.finished) return;
    this.moving = this.selected ?? this.stage.place(tool);
  }

  private use(tool: string): void {
    this.tool = tool;
    activate(tool);
    this.requestUpdate();
  }

  private toLayers(): void {
    this.cameFrom = across(this.querySelector("button[data-layer]"), ".layers", this.cameFrom ?? this.stage.views[0]?.element ?? null);
  }

  private find(state: Finder | null): void {
    if (state && !this.palette) this.cameFrom = document.activeElement as HTMLElement | null;
    this.palette = state;
    this.requestUpdate();
    if (!state) this.cameFrom?.focus();
  }

  private act(action: string): void {
    if (action === "submit") void this.submit();
    else if (action === "help") this.help = !this.help;
    else if (action === "palette") this.find(this.palette ? null : { text: "", at: 0 });
    else if (action === "heatmap") this.setHeat({ on: !this.heat.state.on });
    else if (action === "overlays") {
      this.overlays = !this.overlays;
      this.querySelector(".views")?.classList.toggle("bare", !this.overlays);
      void this.showModel();
    } else if (action === "remove") { if (this.selected && !this.finished) this.stage.remove(this.selected); }
    else if (action === "mark") this.placeMark();
    else if (action === "layers") this.toLayers();
    else if (action === "undo") this.stage.undo();
    else this.stage.act(action);
    this.requestUpdate();
  }

  protected override updated(): void {
    if (!this.palette) return;
    this.querySelector<HTMLInputElement>(".finder input")?.focus();
    this.querySelector(".finder [aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  protected override render(): unknown {
    const bundle = this.bundle;
    const now = performance.now();
    return html`${top(bundle, this.active?.value(now) ?? null, this.live, this.waiting, this.alerted, (a) => { this.act(a); })}
      <p class="small-screen">The reading room needs a larger screen; the images are shown all the same.</p>
      ${this.notice ? html`<p class="notice" role="status" data-testid="notice"><span>${this.notice}</span><button type="button" class="quiet" aria-label="Hide this" @click=${() => { this.hideNotice(); }}>×</button></p>` : nothing}
      <main class="body">
        <div class="stage"><div class="views" aria-label="Images"></div>
          ${this.fault && !bundle ? html`<div class="empty-room" role="alert"><p>${this.fault}</p><a class="button" href="/worklist/">To the worklist</a></div>` : nothing}
          ${this.finished === "empty" ? html`<div class="empty-room" data-testid="done"><p>Submitted. Nothing else waits for you.</p><a class="button" href="/worklist/">To the worklist</a></div>` : nothing}</div>
        ${bundle ? html`<aside class="side" aria-label="Findings and form">
          ${bundle.why && bundle.kind !== "first" ? html`<p class="why">${bundle.why}</p>` : nothing}
          ${previous(bundle.previous, bundle)}
          ${bundle.id ? marks(bundle, this.marks, this.selected, Boolean(this.finished), {
            select: (id) => { this.stage.select(id); }, remove: (id) => { this.stage.remove(id); }, describe: (id, change) => { this.stage.describe(id, change); },
          }) : nothing}
          ${bundle.protocol.form.length ? html`<section class="panel-part"><h2>Reading form</h2>${form({ form: bundle.protocol.form, answers: this.answers, wanted: this.wanted, locked: Boolean(this.finished), set: (k, v) => { this.set(k, v); } })}</section>` : nothing}
          ${model({ bundle, heat: this.heat.state, set: (c) => { this.setHeat(c); }, reveal: () => void this.reveal() })}
          ${layers({
            entries: this.layers.entries, study: bundle.images[0]?.study_uid ?? this.page.study_uid, where: (uid, frame) => this.stage.where(uid, frame), toggle: (uid) => { this.layers.toggle(uid); },
            go: (uid, frame) => { this.stage.goTo(uid, frame); }, window: ({ data }) => { this.stage.useWindows(data?.windows ?? {}); },
          })}
          ${bundle.id ? end({
            state: this.keeper?.state ?? null, here: { answers: this.answers, marks: this.marks }, fault: this.fault, finished: Boolean(this.finished), busy: this.busy, submit: () => void this.submit(),
            keep: (server) => { this.keeper?.resolve(server.revision, this.content()); this.requestUpdate(); }, take: () => { this.keeper?.stop(); void this.open(); },
          }) : nothing}
        </aside>` : nothing}
      </main>
      ${toolbar(this.tool, bundle?.protocol.tools ?? [], (t) => { this.use(t); }, (a) => { this.act(a); })}
      ${this.help ? help(() => { this.act("help"); }) : nothing}
      ${finder(this.palette ? commands(this.stage.presets(), this.layers.entries, Boolean(this.bundle?.id), (uid) => { this.layers.toggle(uid); }, (t) => { this.use(t); }, (a) => { this.act(a); }) : [], this.palette, (state) => { this.find(state); })}`;
  }
}
customElements.define("reading-room", ReadingRoom);
