// What lies over an image: the heat map as one small canvas moved by CSS, and outlines as SVG. Both follow the image
// exactly under pan, zoom, rotation and flip, because their place comes from the viewport's own world-to-canvas.
import type { Shape } from "../foreign";
import type { World } from "../marks";
import type { Point } from "../types";

export interface Projector {
  toCanvas(column: number, row: number): Point; // image coordinates, pixel centres at n + 0.5
}

export interface Outline {
  points: Point[]; // image pixels, centres at whole numbers
  closed: boolean;
  style: "other" | "prior" | "model" | "second";
  label: string;
}

/** What lies over one frame. */
export interface Over {
  outlines: Outline[];
  foreign: Shape[];
}

export function projector(toWorld: (p: Point) => World, worldToCanvas: (w: World) => number[]): Projector {
  return {
    toCanvas: (column, row) => {
      const [x = 0, y = 0] = worldToCanvas(toWorld([column, row]));
      return [x, y];
    },
  };
}

/** CSS matrix that lays an N × N canvas over the whole image. */
export function placement(p: Projector, columns: number, rows: number, n: number): string {
  const [x0, y0] = p.toCanvas(0, 0);
  const [x1, y1] = p.toCanvas(columns, 0);
  const [x2, y2] = p.toCanvas(0, rows);
  const m = [(x1 - x0) / n, (y1 - y0) / n, (x2 - x0) / n, (y2 - y0) / n, x0, y0];
  return `matrix(${m.map((v) => v.toFixed(4)).join(",")})`;
}

const LABEL_ROOM = 90; // CSS pixels
const NS = "http://www.w3.org/2000/svg";

/** Draw outlines into an SVG element; the model's are double lines, other readers' dashed. */
export function draw(svg: SVGSVGElement, p: Projector, outlines: Outline[]): void {
  svg.replaceChildren();
  for (const outline of outlines) {
    const points = outline.points.map(([x, y]) => p.toCanvas(x + 0.5, y + 0.5));
    const text = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    for (const part of outline.style === "model" ? ["wide", "gap"] : ["line"]) {
      const shape = document.createElementNS(NS, outline.closed ? "polygon" : "polyline");
      shape.setAttribute("points", text);
      shape.setAttribute("class", `outline ${outline.style} ${part}`);
      svg.append(shape);
    }
    const first = points.reduce((a, b) => (b[1] < a[1] ? b : a), points[0] ?? [0, 0]);
    const label = document.createElementNS(NS, "text");
    // beside the edge the words go to the left, so that they are not cut
    if (first[0] + LABEL_ROOM > svg.clientWidth) label.setAttribute("text-anchor", "end");
    label.setAttribute("x", first[0].toFixed(1));
    label.setAttribute("y", (first[1] - 6).toFixed(1));
    label.setAttribute("class", `outline-label ${outline.style}`);
    label.textContent = outline.label;
    svg.append(label);
  }
}
