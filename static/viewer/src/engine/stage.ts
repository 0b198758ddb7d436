// All viewports of a case: layout, tools on them, marks in and out.
import { Enums, eventTarget, RenderingEngine, utilities, type Types } from "@cornerstonejs/core";
import * as tools from "@cornerstonejs/tools";

import { layout, type Layout } from "../hanging";
import { inside, moved, placed } from "../keyboard";
import { toAnnotation, toMark, type AnnotationLike } from "../marks";
import type { Bundle, Mark, Point, Shown, Tool } from "../types";
import { GROUP, start } from "./setup";
import { Images } from "./space";
import { View } from "./view";

const { annotation } = tools;
const PLACED_PART = 0.12; // of the view: size of a mark made by keys
// factor of the width, and shift of the centre in parts of the width
const WINDOW_STEPS: Record<string, [number, number]> = { narrower: [0.9, 0], wider: [1.1, 0], brighter: [1, -0.05], darker: [1, 0.05] };
const STEP = 4; // CSS pixels a key press

export class Stage {
  readonly images = new Images();
  views: View[] = [];
  private engine: RenderingEngine | null = null;
  private known = new Map<string, Mark>();
  private quiet = false;

  constructor(
    private readonly onMarks: (marks: Mark[]) => void,
    private readonly onSelect: (id: string | null) => void,
  ) {
    const changed = (): void => {
      if (!this.quiet) this.collect();
    };
    this.listen(changed);
  }

  private listen(changed: () => void): void {
    const events = tools.Enums.Events;
    for (const name of [events.ANNOTATION_COMPLETED, events.ANNOTATION_MODIFIED, events.ANNOTATION_REMOVED]) {
      eventTarget.addEventListener(name, changed);
    }
    eventTarget.addEventListener(events.ANNOTATION_SELECTION_CHANGE, () => {
      this.onSelect(annotation.selection.getAnnotationsSelected()[0] ?? null);
    });
  }

  /** Lay out and load a case into `root`; images appear one by one, errors stay in their viewport. */
  async open(bundle: Bundle, root: HTMLElement, failed: (view: View, words: string) => void): Promise<Layout> {
    await start();
    this.close();
    const plan = layout(bundle);
    await this.images.learn(bundle.images.filter((i) => plan.cells.some((c) => c.stack.includes(i))));
    this.engine = new RenderingEngine("room");
    root.style.setProperty("--columns", String(plan.columns));
    root.style.setProperty("--rows-of-views", String(plan.rows));
    root.replaceChildren();
    plan.cells.forEach((cell, n) => {
      const frame = document.createElement("div");
      const border = cell.prior && (n % plan.columns === 0 || !plan.cells[n - 1]?.prior);
      frame.className = `cell${cell.prior ? " prior" : ""}${border ? " border" : ""}`;
      const element = document.createElement("div");
      element.className = "viewport";
      element.dataset["testid"] = `viewport-${n}`;
      frame.append(element);
      root.append(frame);
      if (!cell.stack.length) {
        frame.classList.add("empty");
        return;
      }
      const id = `view-${n}`;
      this.engine?.enableElement({ viewportId: id, element, type: Enums.ViewportType.STACK, defaultOptions: { background: [0.043, 0.047, 0.055] } });
      this.focusable(element, cell.title);
      tools.ToolGroupManager.getToolGroup(GROUP)?.addViewport(id, "room");
      this.views.push(new View(id, element, cell, this.images, () => this.viewport(id)));
    });
    await Promise.all(
      this.views.map((view) =>
        view.show().catch((error: unknown) => {
          view.error = error instanceof Error ? error.message : "The image cannot be shown.";
          failed(view, view.error);
        }),
      ),
    );
    this.equalise();
    return plan;
  }

  /** One scale for all images that know their size, so that a prior can be compared by eye. */
  private equalise(): void {
    const known = this.views.filter((view) => !view.error && view.metric());
    const scales = known.map((view) => this.viewport(view.id).getCamera().parallelScale ?? 0);
    if (known.length < 2 || !scales.every((scale) => scale > 0)) return;
    for (const view of known) {
      view.scale = Math.max(...scales);
      view.fit();
    }
  }

  /** Cornerstone's keydown listener traps Tab; stop it, and let the viewport take the focus. */
  private focusable(element: HTMLDivElement, title: string): void {
    element.tabIndex = 0;
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", title || "image");
    element.addEventListener("keydown", (event) => { if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) event.stopImmediatePropagation(); }, true);
  }

  viewport(id: string): Types.IStackViewport {
    const found = this.engine?.getViewport(id);
    if (!found) throw new Error("the viewport is closed");
    return found as Types.IStackViewport;
  }

  focused(): View | null {
    return this.views.find((v) => v.element.contains(document.activeElement)) ?? this.views.find((v) => v.element.matches(":hover")) ?? this.views[0] ?? null;
  }

  resize(): void {
    this.engine?.resize(true, true);
  }

  close(): void {
    this.quiet = true;
    annotation.state.removeAllAnnotations();
    this.quiet = false;
    this.known.clear();
    for (const view of this.views) tools.ToolGroupManager.getToolGroup(GROUP)?.removeViewports("room", view.id);
    this.views = [];
    this.engine?.destroy();
    this.engine = null;
  }

  // --- marks ---------------------------------------------------------------------------------
  /** Put marks on the images as they were kept. */
  restore(marks: Mark[]): void {
    this.quiet = true;
    for (const mark of marks) {
      this.known.set(mark.id, mark);
      const imageId = this.images.imageId(mark.sop_uid, mark.frame);
      const view = this.views.find((v) => imageId && v.ids().includes(imageId));
      const made = imageId && toAnnotation(mark, this.images, this.images.frameOfReference(imageId));
      if (made && view) annotation.state.addAnnotation(made as never, view.element as never);
    }
    this.quiet = false;
    for (const view of this.views) this.viewport(view.id).render();
  }

  /** The windows that the reader chose, for the images on the screen and those that bear marks. */
  display(marked: Set<string>): Record<string, Shown> {
    const out: Record<string, Shown> = {};
    for (const view of this.views) {
      const shown = view.shown();
      if (!shown) continue;
      for (const { sop_uid } of view.cell.stack) if (marked.has(sop_uid) || sop_uid === view.current()?.sop_uid) out[sop_uid] = shown;
    }
    return out;
  }

  private collect(): void {
    const found = annotation.state.getAllAnnotations() as unknown as AnnotationLike[];
    const marks = found.flatMap((a) => toMark(a, this.images, this.known.get(a.annotationUID ?? "")) ?? []);
    this.known = new Map(marks.map((m) => [m.id, m]));
    this.onMarks(marks);
  }

  /** A new mark in the middle of the focused view, by keys; returns its id. */
  place(tool: Tool): string | null {
    const view = this.focused();
    const imageId = view && this.viewport(view.id).getCurrentImageId();
    const image = imageId && this.images.image(imageId);
    if (!view || !image) return null;
    const { clientWidth, clientHeight } = view.element;
    const [from, to] = [view.imagePoint(0, 0), view.imagePoint(clientWidth, clientHeight)];
    if (!from || !to) return null;
    // the middle of the part of the image that is seen, which may lean on one side of the view
    const middle = (a: number, b: number, last: number): number => (Math.min(Math.max(a, 0), last) + Math.min(Math.max(b, 0), last)) / 2;
    const centre: Point = [middle(from[0], to[0], image.columns - 1), middle(from[1], to[1], image.rows - 1)];
    const size = Math.min(clientWidth, clientHeight) * PLACED_PART * view.pixels();
    const mark: Mark = {
      id: crypto.randomUUID(), tool, sop_uid: image.sopUid, frame: image.frame, points_px: inside(placed(tool, centre, size), image.columns, image.rows),
      points_mm: null, label: null, rating: null, text: "", measurements: {},
    };
    this.restore([mark]);
    this.collect();
    return mark.id;
  }

  /** Move a mark by steps on the screen, or with `grow` its far end. */
  nudge(id: string, dx: number, dy: number, grow: boolean): void {
    const mark = this.known.get(id);
    const imageId = mark && this.images.imageId(mark.sop_uid, mark.frame);
    const view = this.views.find((v) => imageId && v.ids().includes(imageId));
    if (!mark || !view) return;
    const step = STEP * view.pixels();
    this.quiet = true;
    annotation.state.removeAnnotation(id);
    this.quiet = false;
    const image = imageId && this.images.image(imageId);
    const points = moved(mark, dx * step, dy * step, grow);
    this.restore([{ ...mark, points_px: image && !grow ? inside(points, image.columns, image.rows) : points }]);
    this.collect();
  }

  /** Label, rating and text live beside the drawing. */
  describe(id: string, change: Partial<Pick<Mark, "label" | "rating" | "text">>): void {
    const mark = this.known.get(id);
    if (!mark) return;
    this.known.set(id, { ...mark, ...change });
    this.onMarks([...this.known.values()]);
  }

  remove(id: string): void {
    annotation.state.removeAnnotation(id);
    this.known.delete(id);
    this.onMarks([...this.known.values()]);
    for (const view of this.views) this.viewport(view.id).render();
  }

  select(id: string): void {
    annotation.selection.setAnnotationSelected(id, true, false);
    const mark = this.known.get(id);
    if (mark) this.goTo(mark.sop_uid, mark.frame);
  }

  private found(sopUid: string, frame: number): { view: View; at: number } | null {
    const imageId = this.images.imageId(sopUid, frame);
    const view = imageId === null ? undefined : this.views.find((v) => v.ids().includes(imageId));
    return view && imageId !== null ? { view, at: view.ids().indexOf(imageId) } : null;
  }

  /** Show a frame in the view where it hangs, and give that view the focus. */
  goTo(sopUid: string, frame: number): void {
    const found = this.found(sopUid, frame);
    found?.view.go(found.at);
    found?.view.element.focus();
  }

  /** Where a frame hangs, in words; null when it hangs nowhere. */
  where(sopUid: string, frame: number): string | null {
    const found = this.found(sopUid, frame);
    const count = found?.view.ids().length ?? 0;
    return found && `${found.view.cell.title}${count > 1 ? ` ${found.at + 1} / ${count}` : ""}`;
  }

  /** Show images under windows that somebody else chose for them. */
  useWindows(windows: Record<string, { centre: number; width: number }>): void {
    for (const view of this.views) {
      const window = windows[view.current()?.sop_uid ?? ""];
      if (window) view.window({ name: "", ...window });
    }
  }

  // --- commands on the focused view -------------------------------------------------------------
  act(action: string): void {
    const view = this.focused();
    if (!view) return;
    const viewport = this.viewport(view.id);
    if (action === "invert") viewport.setProperties({ invert: !viewport.getProperties().invert });
    if (action === "reset") view.reset();
    if (action === "zoom-in" || action === "zoom-out") viewport.setZoom(viewport.getZoom() * (action === "zoom-in" ? 1.25 : 0.8));
    const step = { previous: -1, next: 1, "back-10": -10, "on-10": 10 }[action];
    if (step) view.go(view.index() + step);
    if (action === "first" || action === "last") view.go(action === "first" ? 0 : view.ids().length - 1);
    if (action === "preset") view.nextPreset();
    const change = WINDOW_STEPS[action];
    if (change) view.changeWindow(...change);
    viewport.render();
  }

  /** The focused view's windows, by name. */
  presets(): { name: string; run: () => void }[] {
    const view = this.focused();
    return view ? view.presets().map((p) => ({ name: p.name, run: () => { view.window(p); } })) : [];
  }

  undo(): void {
    utilities.HistoryMemo.DefaultHistoryMemo.undo();
  }
}
