// One class of a probability matrix → RGBA pixels. Pure; runs within a frame (64 × 64 cells).
import type { Matrix } from "../api";
import { table, type MapName } from "./colours";

export interface Paint {
  map: MapName;
  threshold: number; // 0 to 1: cells below are clear
}

/** RGBA of N × N cells; alpha grows with the probability so that weak places do not veil the image. */
export function paint(matrix: Matrix, index: number, look: Paint): Uint8ClampedArray<ArrayBuffer> {
  const cells = matrix.size * matrix.size;
  const start = index * cells;
  const colours = table(look.map);
  const out = new Uint8ClampedArray(cells * 4);
  const low = look.threshold * 255;
  for (let i = 0; i < cells; i++) {
    const value = matrix.data[start + i] ?? 0;
    if (value < low || value === 0) continue;
    out[i * 4] = colours[value * 3] ?? 0;
    out[i * 4 + 1] = colours[value * 3 + 1] ?? 0;
    out[i * 4 + 2] = colours[value * 3 + 2] ?? 0;
    out[i * 4 + 3] = 70 + Math.round((value / 255) * 185);
  }
  return out;
}

/** Probability at an image position; null outside. */
export function valueAt(
  matrix: Matrix,
  index: number,
  column: number,
  row: number,
  columns: number,
  rows: number,
): { value: number; patch: [number, number] } | null {
  const x = Math.floor(((column + 0.5) / columns) * matrix.size);
  const y = Math.floor(((row + 0.5) / rows) * matrix.size);
  if (x < 0 || y < 0 || x >= matrix.size || y >= matrix.size) return null;
  const value = matrix.data[index * matrix.size * matrix.size + y * matrix.size + x] ?? 0;
  return { value: value / 255, patch: [x, y] };
}
