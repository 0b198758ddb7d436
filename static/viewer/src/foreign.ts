// What other systems say of images: which of it lies where, and in which words. Pure.
import type { LayerRef, Point } from "./types";

export interface ForeignItem {
  kind: "point" | "line" | "polygon" | "mask" | "text" | "statement";
  sop_uid: string; // empty: of the study as a whole
  frame: number;
  rings: Point[][]; // image pixels, centres at whole numbers; of a mask its borders, holes among them (even-odd)
  label: string;
  layer: string;
  tracking_id: string;
  tracking_uid: string;
  text: string;
  measurements: { name: string; value: number; unit: string }[];
  evaluations: { name: string; value: string }[];
}

export interface ForeignLayer {
  kind: LayerRef["kind"];
  title: string;
  maker: string;
  items: ForeignItem[];
  windows: Record<string, { centre: number; width: number }>;
  left_out: Record<string, number>;
}

/** A layer in the room's list. */
export interface Entry {
  ref: LayerRef;
  on: boolean;
  data: ForeignLayer | null; // null until it was fetched
  fault: string;
}

/** One thing to be drawn on one frame. */
export interface Shape {
  layer: string; // SOP Instance UID of the object
  number: number; // of the layer in the list, from 1
  kind: ForeignItem["kind"];
  rings: Point[][];
  label: string;
}

/** What a layer says under one name, and where. */
export interface Line {
  name: string;
  said: string[];
  places: { sop_uid: string; frame: number; size: number }[];
}

const KINDS: Record<LayerRef["kind"], string> = { report: "report", segmentation: "segmentation", presentation: "presentation state" };
const UNITS: Record<string, string> = { "1": "", "%": " %", mm2: " mm²", cm2: " cm²", mm3: " mm³", cm3: " cm³", "[hnsf'U]": " HU" }; // UCUM
const IN_PIXELS = "{pixels}"; // says nothing to a reader
const LONGEST = 40; // characters of a label on an image

/** A measurement in words; empty for counts of pixels. */
export function measured(one: ForeignItem["measurements"][number]): string {
  if (one.unit === IN_PIXELS) return "";
  return `${one.name} ${Number(one.value.toPrecision(4))}${UNITS[one.unit] ?? ` ${one.unit}`}`.trim();
}

const name = (item: ForeignItem): string => item.label || item.tracking_id || item.text.split("\n")[0] || item.layer || item.kind;

/** The words beside a shape: the layer's number in the list, its name, and the first measurement. */
export function label(number: number, item: ForeignItem): string {
  const first = item.measurements.map(measured).find(Boolean);
  const words = `${number} · ${[item.kind === "text" ? item.text.trim() : name(item), first].filter(Boolean).join(" · ")}`;
  return words.length > LONGEST ? `${words.slice(0, LONGEST - 1)}…` : words;
}

/** What the layers that are switched on have to show on one frame. */
export function shapes(entries: Entry[], uid: string, frame: number): Shape[] {
  return entries.flatMap(({ ref, on, data }, n) => {
    const here = on ? (data?.items ?? []).filter((item) => item.rings.length && item.sop_uid === uid && item.frame === frame) : [];
    return here.map((item) => ({ layer: ref.sop_uid, number: n + 1, kind: item.kind, rings: item.rings, label: label(n + 1, item) }));
  });
}

/** What a layer says, name by name in its order; a segment that spans slices, or a place on several, is one line. */
export function lines(layer: ForeignLayer): Line[] {
  const found = new Map<string, Line>();
  for (const item of layer.items) {
    const numbers = item.measurements.map(measured).filter(Boolean);
    const said = [...numbers, ...item.evaluations.map((e) => [e.name, e.value].filter(Boolean).join(": ")), ...(name(item) === item.text ? [] : item.text.split("\n"))];
    const key = JSON.stringify([name(item), item.tracking_uid, said]);
    const line = found.get(key) ?? { name: name(item), said: said.filter(Boolean), places: [] };
    found.set(key, line);
    if (!item.sop_uid) continue;
    const size = item.kind === "mask" ? (item.measurements.find((m) => m.unit === IN_PIXELS)?.value ?? 0) : 0;
    line.places.push({ sop_uid: item.sop_uid, frame: item.frame, size });
  }
  return [...found.values()];
}

/** The place that shows most of a line: a mask's largest, else the first. */
export function best<T extends { size: number }>(places: T[]): T | null {
  return places.reduce<T | null>((top, one) => (top && top.size >= one.size ? top : one), null);
}

/** Maker, kind, date and number of items: what tells layers apart in the list. */
export function about({ ref, data }: Entry): string {
  const day = /^\d{8}$/.test(ref.day) ? `${ref.day.slice(0, 4)}-${ref.day.slice(4, 6)}-${ref.day.slice(6)}` : "";
  const count = data && `${data.items.length} item${data.items.length === 1 ? "" : "s"}`;
  return [ref.maker || "maker not named", KINDS[ref.kind], day, count].filter(Boolean).join(" · ");
}
