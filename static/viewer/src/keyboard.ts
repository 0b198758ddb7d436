// Marks made and moved by keys: where their points go. Pure; pixels of the image.
import type { Mark, Point, Tool } from "./types";

const SIDES = 24; // of an outline drawn by keys

/** Points of a new mark of this tool around `centre`, `size` across. */
export function placed(tool: Tool, [x, y]: Point, size: number): Point[] {
  const r = size / 2;
  if (tool === "freehand") {
    return Array.from({ length: SIDES }, (_, n) => {
      const angle = (2 * Math.PI * n) / SIDES;
      return [x + r * Math.cos(angle), y + r * Math.sin(angle)];
    });
  }
  if (tool === "length") return [[x - r, y], [x + r, y]];
  if (tool === "arrow") return [[x, y], [x + r, y - r]];
  return [[x - r, y - r], [x + r, y + r]];
}

/** The mark's points after a step: all of them, or with `grow` its far corner, its end, or its outline about the middle. */
export function moved(mark: Pick<Mark, "tool" | "points_px">, dx: number, dy: number, grow: boolean): Point[] {
  const points = mark.points_px;
  if (!grow) return points.map(([x, y]) => [x + dx, y + dy]);
  if (mark.tool !== "freehand") {
    const last = points.length - 1;
    return points.map(([x, y], n) => (n === last ? [x + dx, y + dy] : [x, y]));
  }
  const mean = (at: 0 | 1): number => points.reduce((sum, p) => sum + p[at], 0) / points.length;
  const [cx, cy] = [mean(0), mean(1)];
  const half = (at: 0 | 1, c: number): number => Math.max(...points.map((p) => Math.abs(p[at] - c)), 1);
  const [fx, fy] = [1 + dx / half(0, cx), 1 + dy / half(1, cy)];
  return points.map(([x, y]) => [cx + (x - cx) * fx, cy + (y - cy) * fy]);
}

/** The points shifted so that none lies outside an image of this size, as far as they fit. */
export function inside(points: Point[], columns: number, rows: number): Point[] {
  const shift = (at: 0 | 1, size: number): number => {
    const values = points.map((p) => p[at]);
    return Math.max(-Math.min(...values), 0) + Math.min(size - 1 - Math.max(...values), 0);
  };
  const [dx, dy] = [shift(0, columns), shift(1, rows)];
  return points.map(([x, y]) => [x + dx, y + dy]);
}
