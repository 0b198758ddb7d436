// One viewport: a stack of images with its overlays, errors and corner text.
import { Enums, eventTarget, type Types } from "@cornerstonejs/core";

import type { Matrix } from "../api";
import type { Cell } from "../hanging";
import { paint, valueAt, type Paint } from "../heatmap/paint";
import type { World } from "../marks";
import type { ImageRef, Point } from "../types";
import { draw, placement, projector, type Outline, type Projector } from "./overlay";
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
  private outlines: Outline[] = [];
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
    element.addEventListener(Enums.Events.IMAGE_RENDERED, this.place);
    element.addEventListener(Enums.Events.STACK_NEW_IMAGE, this.place);
  }

  ids(): string[] {
    return this.cell.stack.flatMap((ref) => Array.from({ length: Math.max(ref.frames, 1) }, (_, n) => this.images.id(ref, n + 1)));
  }

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
      this.fit();
      viewport.render();
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

  current(): ImageRef | null {
    const id = this.viewport().getCurrentImageId();
    return id ? this.images.ref(id) : null;
  }

  setHeat(heat: Heat | null): void {
    this.heat = heat;
    this.place();
  }

  setOutlines(outlines: Outline[]): void {
    this.outlines = outlines;
    this.place();
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

  /** Probability under a mouse position of this element. */
  probe(x: number, y: number): { value: number; patch: [number, number] } | null {
    const ref = this.current();
    const id = this.viewport().getCurrentImageId();
    if (!this.heat || !ref || !id) return null;
    const world = this.viewport().canvasToWorld([x, y]) as World;
    const [column, row]: Point = this.images.toImage(id, world);
    return valueAt(this.heat.matrix, this.heat.index, column - 0.5, row - 0.5, ref.columns, ref.rows);
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
    draw(this.svg, where, this.outlines);
  };
}
