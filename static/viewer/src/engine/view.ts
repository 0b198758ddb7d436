// One viewport: a stack of images with its overlays, errors and corner text.
import { Enums, eventTarget, getShouldUseCPURendering, metaData, utilities, type Types } from "@cornerstonejs/core";
import { utilities as toolUtilities } from "@cornerstonejs/tools";

import type { Matrix } from "../api";
import type { Cell } from "../hanging";
import { paint, valueAt, type Paint } from "../heatmap/paint";
import type { World } from "../marks";
import { presets, type Preset } from "../presets";
import type { ImageRef, Point, Shown } from "../types";
import { Corners } from "./corners";
import { figures, put } from "./foreign";
import { draw, placement, projector, type Over, type Projector } from "./overlay";
import type { Images } from "./space";

export interface Heat extends Paint {
  matrix: Matrix;
  index: number;
  opacity: number;
  smooth: boolean;
}

const LOAD_SECONDS = 60;

export class View {
  readonly canvas = document.createElement("canvas");
  readonly svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  private heat: Heat | null = null;
  private over: ((uid: string, frame: number) => Over) | null = null;
  private drawn: (Over & { id: string }) | null = null; // what lies over the image with this id
  private readonly corners: Corners;
  private stack: string[] | null = null;
  private preset = 0;
  private chosen: Types.VOIRange | null = null; // the reader's window, for the whole stack
  private readonly own = new Map<string, Types.VOIRange>(); // each image's window, as it came
  private inverted = false;
  private settling = false;
  private fitted = 1;
  /** Half the viewport's height in mm when fitted; shared by the views of a case so that sizes can be compared. */
  scale: number | null = null;
  error = "";

  constructor(
    readonly id: string,
    readonly element: HTMLDivElement,
    readonly cell: Cell,
    private readonly images: Images,
    private readonly viewport: () => Types.IStackViewport,
  ) {
    this.canvas.className = "heat";
    this.svg.classList.add("outlines");
    element.append(this.canvas, this.svg);
    this.corners = new Corners(element.parentElement ?? element, cell, (index) => { this.go(index); });
    element.addEventListener(Enums.Events.IMAGE_RENDERED, this.place);
    element.addEventListener(Enums.Events.STACK_NEW_IMAGE, this.newImage);
    element.addEventListener(Enums.Events.VOI_MODIFIED, this.windowed);
  }

  ids(): string[] {
    this.stack ??= this.images.ids(this.cell.stack);
    return this.stack;
  }

  /** Show the image with this index, or the nearest there is. */
  go(index: number): void {
    const last = this.ids().length - 1;
    void this.viewport().setImageIdIndex(Math.min(Math.max(index, 0), last));
  }

  index(): number {
    return this.viewport().getTargetImageIdIndex(); // where quick presses lead, though it may not be drawn yet
  }

  presets(): Preset[] {
    const id = this.viewport().getCurrentImageId();
    const voi = metaData.get("voiLutModule", id ?? "") as Parameters<typeof presets>[1];
    return presets(this.current()?.modality ?? "", voi);
  }

  /** Use a window for the whole stack. */
  window(preset: Preset): void {
    const voiRange = utilities.windowLevel.toLowHighRange(preset.width, preset.centre);
    this.viewport().setProperties({ voiRange });
    this.viewport().render();
    this.told();
  }

  private readonly windowed = (event: Event): void => {
    if (!this.settling) this.chosen = (event as CustomEvent<{ range: Types.VOIRange }>).detail.range;
    this.told();
  };

  /** Under CPU rendering the library keeps an old window and names the new image's: set the one that holds. */
  private readonly newImage = (): void => {
    // the event comes before the image is taken over; the frame is drawn after this
    queueMicrotask(() => {
      const viewport = this.viewport();
      const own = viewport.getProperties().voiRange;
      const id = viewport.getCurrentImageId();
      if (own && id && !this.own.has(id)) this.own.set(id, own);
      const voiRange = this.chosen ?? this.own.get(id ?? "") ?? own;
      if (getShouldUseCPURendering() && voiRange) {
        this.settling = true;
        viewport.setProperties({ voiRange });
        this.settling = false;
      }
      this.place();
    });
  };

  /** As it was hung: window, inversion, size and place. */
  reset(): void {
    const viewport = this.viewport();
    const voiRange = this.own.get(viewport.getCurrentImageId() ?? "");
    // the library's own reset leaves an empty view under CPU rendering: "Invalid VOI LUT function"
    if (getShouldUseCPURendering()) viewport.setProperties({ voiRange, invert: this.inverted });
    else viewport.resetProperties();
    this.chosen = null;
    this.preset = 0;
    this.fit();
  }

  /** The window and inversion that the reader chose; null while the image is shown as it came. */
  shown(): Shown | null {
    const { voiRange, invert } = this.viewport().getProperties();
    const inverted = (invert ?? false) !== this.inverted;
    if (!voiRange || (!this.chosen && !inverted)) return null;
    const { windowWidth, windowCenter } = utilities.windowLevel.toWindowLevel(voiRange.lower, voiRange.upper);
    return { centre: windowCenter, width: Math.max(windowWidth, 1e-6), inverted };
  }

  nextPreset(): void {
    const list = this.presets();
    this.preset = (this.preset + 1) % Math.max(list.length, 1);
    const next = list[this.preset];
    if (next) this.window(next);
  }

  /** Widen or narrow the window, and shift it by a part of its width. */
  changeWindow(factor: number, shift: number): void {
    const range = this.viewport().getProperties().voiRange;
    if (!range) return;
    const { windowWidth, windowCenter } = utilities.windowLevel.toWindowLevel(range.lower, range.upper);
    this.window({ name: "", width: Math.max(windowWidth * factor, 1), centre: windowCenter + windowWidth * shift });
  }

  /** The window and the place in the stack, in the corners. */
  private readonly told = (): void => {
    const viewport = this.viewport();
    const range = viewport.getProperties().voiRange;
    const now = range ? utilities.windowLevel.toWindowLevel(range.lower, range.upper) : null;
    const name = now && this.presets().find((p) => Math.abs(p.width - now.windowWidth) < 1.5 && Math.abs(p.centre - now.windowCenter) < 1.5)?.name;
    this.corners.tell({
      width: now?.windowWidth ?? null, centre: now?.windowCenter ?? null, preset: name ?? "", zoom: this.fitted / (viewport.getCamera().parallelScale ?? this.fitted),
      index: this.index(), count: this.ids().length, depth: this.images.depth(viewport.getCurrentImageId() ?? ""),
    });
  };

  /** Load and show the stack. Rejects with words when an image cannot be shown. */
  async show(): Promise<void> {
    const ids = this.ids();
    if (!ids.length) return;
    const viewport = this.viewport();
    const failed = new Promise<never>((_, reject) => {
      const give = (words: string): void => {
        reject(new Error(words));
      };
      const timer = setTimeout(() => { give("The image did not arrive in time."); }, LOAD_SECONDS * 1000);
      const listen = (event: Event): void => {
        const detail = (event as CustomEvent<{ imageId?: string; error?: unknown }>).detail;
        if (detail.imageId && ids.includes(detail.imageId)) give("The image could not be loaded.");
      };
      eventTarget.addEventListener(Enums.Events.IMAGE_LOAD_FAILED, listen);
      eventTarget.addEventListener(Enums.Events.IMAGE_LOAD_ERROR, listen);
      this.stopListening = () => {
        clearTimeout(timer);
        eventTarget.removeEventListener(Enums.Events.IMAGE_LOAD_FAILED, listen);
        eventTarget.removeEventListener(Enums.Events.IMAGE_LOAD_ERROR, listen);
      };
    });
    try {
      await Promise.race([viewport.setStack(ids, Math.floor((ids.length - 1) / 2)), failed]);
      this.check();
      this.inverted = viewport.getProperties().invert ?? false;
      viewport.setProperties({ interpolationType: Enums.InterpolationType.LINEAR });
      this.fit();
      viewport.render();
      if (ids.length > 1) toolUtilities.stackContextPrefetch.enable(this.element);
      this.error = "";
    } finally {
      this.stopListening();
    }
  }

  private stopListening: () => void = () => undefined;

  /** The decoded picture must have the size that the archive announced: never show wrong pixels silently. */
  private check(): void {
    const data = this.viewport().getImageData() as { dimensions?: number[] } | undefined;
    const ref = this.current();
    const [columns, rows] = data?.dimensions ?? [];
    if (ref && (columns !== ref.columns || rows !== ref.rows)) {
      throw new Error("The image that arrived is not of the announced size.");
    }
  }

  /** Whole image; breasts against the chest wall's side. */
  fit(): void {
    const viewport = this.viewport();
    viewport.resetCamera();
    if (this.scale !== null) viewport.setCamera({ parallelScale: this.scale });
    this.fitted = viewport.getCamera().parallelScale ?? 1;
    this.lean();
    viewport.render();
  }

  /** Push the image against the chest wall's side. By the camera: setDisplayArea fails under CPU rendering. */
  private lean(): void {
    const where = this.cell.wall && this.projector();
    const ref = this.current();
    if (!where || !ref) return;
    const viewport = this.viewport();
    const right = this.cell.wall === "right";
    const [edge] = where.toCanvas(right ? ref.columns : 0, ref.rows / 2);
    const shift = (right ? this.element.clientWidth : 0) - edge;
    const from = viewport.canvasToWorld([0, 0]);
    const to = viewport.canvasToWorld([shift, 0]);
    const focal = viewport.getCamera().focalPoint;
    if (!focal) return;
    viewport.setCamera({ focalPoint: focal.map((v, n) => v - ((to[n] ?? 0) - (from[n] ?? 0))) as Types.Point3 });
  }

  /** Whether lengths on the image are millimetres. */
  metric(): boolean {
    const id = this.viewport().getCurrentImageId();
    return Boolean(id && this.images.image(id)?.metric);
  }

  current(): ImageRef | null {
    const id = this.viewport().getCurrentImageId();
    return id ? this.images.ref(id) : null;
  }

  setHeat(heat: Heat | null): void {
    this.heat = heat;
    this.place();
  }

  /** What to draw over an image: asked for each image of the stack when it is shown; null for nothing. */
  setOver(over: ((uid: string, frame: number) => Over) | null): void {
    this.over = over;
    this.drawn = null;
    this.place();
  }

  private overCurrent(): Over {
    const id = this.viewport().getCurrentImageId() ?? "";
    const image = this.images.image(id);
    if (this.drawn?.id !== id) this.drawn = { id, ...(image && this.over ? this.over(image.sopUid, image.frame) : { outlines: [], foreign: [] }) };
    return this.drawn;
  }

  private projector(): Projector | null {
    const viewport = this.viewport();
    const id = viewport.getCurrentImageId();
    if (!id) return null;
    return projector(
      (point) => this.images.toWorld(id, point),
      (world) => viewport.worldToCanvas(world as Types.Point3),
    );
  }

  /** Image pixel (centres at whole numbers) under a place of this element. */
  imagePoint(x: number, y: number): Point | null {
    const viewport = this.viewport();
    const id = viewport.getCurrentImageId();
    if (!id) return null;
    const [column, row] = this.images.toImage(id, viewport.canvasToWorld([x, y]) as World);
    return [column - 0.5, row - 0.5];
  }

  /** Image pixels to one CSS pixel. */
  pixels(): number {
    const [a, b] = [this.imagePoint(0, 0), this.imagePoint(100, 0)];
    return a && b ? Math.hypot(b[0] - a[0], b[1] - a[1]) / 100 : 1;
  }

  /** Probability under a mouse position of this element. */
  probe(x: number, y: number): { value: number; patch: [number, number] } | null {
    const ref = this.current();
    const at = this.imagePoint(x, y);
    if (!this.heat || !ref || !at) return null;
    return valueAt(this.heat.matrix, this.heat.index, at[0], at[1], ref.columns, ref.rows);
  }

  /** Paint the cells; only when the map or its look changes. */
  repaint(): void {
    const heat = this.heat;
    if (!heat) return;
    this.canvas.width = this.canvas.height = heat.matrix.size;
    const context = this.canvas.getContext("2d");
    context?.putImageData(new ImageData(paint(heat.matrix, heat.index, heat), heat.matrix.size, heat.matrix.size), 0, 0);
    this.canvas.classList.toggle("smooth", heat.smooth);
    this.canvas.style.opacity = String(heat.opacity);
  }

  readonly place = (): void => {
    const ref = this.current();
    const where = this.projector();
    this.canvas.hidden = !this.heat;
    if (!where || !ref) return;
    if (this.heat) {
      this.canvas.style.transform = placement(where, ref.columns, ref.rows, this.heat.matrix.size);
    }
    const { outlines, foreign } = this.overCurrent();
    draw(this.svg, where, outlines);
    put(this.svg, figures(foreign, where, this.element.clientWidth));
    this.told();
  };
}
