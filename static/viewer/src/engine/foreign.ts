// How layers of other systems are drawn: chain lines with a dark edge, their dots counting the layer, points as open crosses.
// The first part is pure.
import type { Shape } from "../foreign";
import type { Point } from "../types";
import type { Projector } from "./overlay";

export interface Figure {
  tag: "path" | "text";
  attributes: Record<string, string>;
  words?: string;
}

const STYLES = 3; // chain lines with one, two and three dots
const [INNER, OUTER] = [4, 11]; // CSS pixels: a cross that leaves free what it points at
const [LETTER, LINE] = [6.5, 15]; // CSS pixels a character of a label takes at most, and a line of it
const TRIES = 6;

/** The class that holds the line style of the layer with this number in the list. */
export const chain = (number: number): string => `foreign dots-${((number - 1) % STYLES) + 1}`;

const xy = ([x, y]: Point): string => `${x.toFixed(1)} ${y.toFixed(1)}`;

function cross([x, y]: Point): string {
  const arms: [number, number][] = [[-1, 0], [1, 0], [0, -1], [0, 1]];
  return arms.map(([a, b]) => `M${xy([x + a * INNER, y + b * INNER])} L${xy([x + a * OUTER, y + b * OUTER])}`).join(" ");
}

/** The box of a label that ends nowhere else's: moved upwards line by line, or null when there is no room. */
function free(taken: [number, number, number][], [x, y]: Point, width: number): Point | null {
  for (let n = 0; n < TRIES; n++) {
    const at = y - n * LINE;
    if (taken.every(([left, right, line]) => right <= x || left >= x + width || Math.abs(line - at) >= LINE)) {
      taken.push([x, x + width, at]);
      return [x, at];
    }
  }
  return null;
}

/** What to draw for shapes on the image that `p` places; `width` of the view in CSS pixels. */
export function figures(shapes: Shape[], p: Projector, width: number): Figure[] {
  const out: Figure[] = [];
  const words: Figure[] = [];
  const taken: [number, number, number][] = [];
  for (const shape of shapes) {
    const rings = shape.rings.map((ring) => ring.map(([x, y]) => p.toCanvas(x + 0.5, y + 0.5)));
    const all = rings.flat();
    const closed = shape.kind === "mask" || shape.kind === "polygon";
    if (shape.kind !== "text" && all.length) {
      const d = shape.kind === "point" ? all.map(cross).join(" ") : rings.map((ring) => `M${ring.map(xy).join(" L")}${closed ? " Z" : ""}`).join(" ");
      const common = { d, "data-layer": shape.layer };
      out.push({ tag: "path", attributes: { ...common, class: "foreign casing" } });
      out.push({ tag: "path", attributes: { ...common, class: `${chain(shape.number)} ${shape.kind}`, "fill-rule": "evenodd" } });
    }
    const top = all.reduce<Point | null>((a, b) => (a && a[1] <= b[1] ? a : b), null);
    if (!top || !shape.label) continue;
    const room = shape.label.length * LETTER;
    // near the right edge the words stand to the left of the place, so that they are not cut
    const x = top[0] + room > width ? Math.max(top[0] - room, 0) : top[0];
    const lift = shape.kind === "text" ? 0 : shape.kind === "point" ? OUTER + 4 : 6;
    const at = free(taken, [x, Math.max(top[1] - lift, LINE)], room);
    if (at) words.push({ tag: "text", attributes: { x: at[0].toFixed(1), y: at[1].toFixed(1), class: "foreign-label", "data-layer": shape.layer }, words: shape.label });
  }
  return [...out, ...words];
}

const NS = "http://www.w3.org/2000/svg";

/** Put figures into an SVG element, under what is there. */
export function put(svg: SVGSVGElement, list: Figure[]): void {
  svg.prepend(...list.map((figure) => {
    const element = document.createElementNS(NS, figure.tag);
    for (const [key, value] of Object.entries(figure.attributes)) element.setAttribute(key, value);
    if (figure.words !== undefined) element.textContent = figure.words;
    return element;
  }));
}
