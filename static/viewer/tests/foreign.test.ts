import { describe, expect, it } from "vitest";

import { chain, figures } from "../src/engine/foreign";
import { about, best, label, lines, measured, shapes, type Entry, type ForeignItem, type ForeignLayer } from "../src/foreign";
import { HELP } from "../src/ui/sheets";
import { ACTION_KEYS, command } from "../src/keys";
import { outlines } from "../src/outlines";
import type { Bundle, LayerRef, Mark, Point } from "../src/types";

const ITEM: ForeignItem = {
  kind: "polygon", sop_uid: "a", frame: 1, rings: [[[1, 1], [5, 1], [5, 4]]], label: "Nodule", layer: "", tracking_id: "", tracking_uid: "", text: "",
  measurements: [{ name: "Diameter", value: 12.3456, unit: "mm" }], evaluations: [],
};
const REF: LayerRef = { sop_uid: "9", kind: "report", title: "Report", description: "", maker: "Acme", day: "20260102", url: "/x/" };
const made = (items: ForeignItem[], more: Partial<ForeignLayer> = {}): ForeignLayer => ({ kind: "report", title: "", maker: "", items, windows: {}, left_out: {}, ...more });
const entry = (items: ForeignItem[], on = true, ref: Partial<LayerRef> = {}): Entry => ({ ref: { ...REF, ...ref }, on, data: made(items), fault: "" });
const mask = (frame: number, pixels: number, rings: Point[][] = [[[0, 0], [4, 0], [4, 4]]]): ForeignItem => ({
  ...ITEM, kind: "mask", frame, rings, label: "Liver", measurements: [{ name: "Area", value: pixels, unit: "{pixels}" }], evaluations: [{ name: "Made", value: "manual" }],
});

describe("layers of other systems", () => {
  it("show what is on this frame of this image, while they are on", () => {
    const items = [ITEM, { ...ITEM, frame: 2 }, { ...ITEM, sop_uid: "b" }, { ...ITEM, kind: "statement" as const, rings: [] }];
    expect(shapes([entry(items)], "a", 1)).toHaveLength(1);
    expect(shapes([entry(items)], "b", 1).map((s) => s.layer)).toEqual(["9"]);
    expect(shapes([entry(items, false)], "a", 1)).toEqual([]);
    expect(shapes([{ ...entry([]), data: null }], "a", 1)).toEqual([]);
    expect(shapes([entry(items, false), entry(items, true, { sop_uid: "8" })], "a", 2).map((s) => [s.number, s.layer])).toEqual([[2, "8"]]);
  });
  it("are named by number, finding and first measurement, cut where too long", () => {
    expect(label(2, ITEM)).toBe("2 · Nodule · Diameter 12.35 mm");
    expect(label(1, mask(1, 400))).toBe("1 · Liver");
    expect(label(1, { ...ITEM, kind: "text", label: "", text: "look here\n" })).toBe("1 · look here · Diameter 12.35 mm");
    expect(label(1, { ...ITEM, label: "x".repeat(90) })).toHaveLength(40);
    expect(label(1, { ...ITEM, label: "", tracking_id: "Lesion 1", measurements: [] })).toBe("1 · Lesion 1");
  });
  it.each([["1", 0.83, "p 0.83"], ["mm2", 40.123456, "p 40.12 mm²"], ["[hnsf'U]", -700, "p -700 HU"], ["%", 7, "p 7 %"], ["cm", 2, "p 2 cm"], ["{pixels}", 7, ""]])(
    "say units as people do: %s", (unit, value, words) => { expect(measured({ name: "p", value, unit })).toBe(words); });
  it("are listed with maker, kind, date and number of items", () => {
    expect(about(entry([ITEM]))).toBe("Acme · report · 2026-01-02 · 1 item");
    expect(about(entry([ITEM, ITEM], true, { maker: "", day: "", kind: "presentation" }))).toBe("maker not named · presentation state · 2 items");
    expect(about({ ...entry([]), data: null })).toBe("Acme · report · 2026-01-02");
  });
  it("say a segment once, and know its largest slice", () => {
    const [line, ...rest] = lines(made([mask(1, 10), mask(2, 90), mask(3, 20)]));
    expect(rest).toEqual([]);
    expect([line?.name, line?.said]).toEqual(["Liver", ["Made: manual"]]);
    expect(best(line?.places ?? [])?.frame).toBe(2);
    expect(best([])).toBeNull();
  });
  it("keep apart what is measured differently, and words of the whole study", () => {
    const said = { ...ITEM, kind: "statement" as const, sop_uid: "", rings: [], label: "Impression", text: "No change.\nSee prior.", measurements: [] };
    const found = lines(made([ITEM, { ...ITEM, measurements: [{ name: "Diameter", value: 3, unit: "mm" }] }, said]));
    expect(found.map((l) => [l.name, l.said, l.places.length])).toEqual([
      ["Nodule", ["Diameter 12.35 mm"], 1], ["Nodule", ["Diameter 3 mm"], 1], ["Impression", ["No change.", "See prior."], 0],
    ]);
  });
});

describe("drawing of layers", () => {
  const twice = { toCanvas: (x: number, y: number): Point => [x * 2, y * 2] };
  const drawn = (items: ForeignItem[], width = 500) => figures(shapes([entry(items)], "a", 1), twice, width);
  it("puts pixel centres where the image has them, with a dark edge under the line", () => {
    const [casing, line, words] = drawn([{ ...ITEM, measurements: [] }]);
    expect(casing?.attributes["class"]).toBe("foreign casing");
    expect(line?.attributes).toMatchObject({ d: "M3.0 3.0 L11.0 3.0 L11.0 9.0 Z", class: "foreign dots-1 polygon", "data-layer": "9" });
    expect(words?.words).toBe("1 · Nodule");
  });
  it("leaves the holes of a mask free", () => {
    const hole: Point[][] = [[[0, 0], [9, 0], [9, 9]], [[3, 3], [5, 3], [5, 5]]];
    const [, line] = drawn([mask(1, 9, hole)]);
    expect(line?.attributes["d"]?.match(/M/g)).toHaveLength(2);
    expect(line?.attributes["d"]?.match(/Z/g)).toHaveLength(2);
    expect(line?.attributes["fill-rule"]).toBe("evenodd");
  });
  it("does not close a line, and leaves free what a cross points at", () => {
    expect(drawn([{ ...ITEM, kind: "line" }])[1]?.attributes["d"]).not.toContain("Z");
    const numbers = (drawn([{ ...ITEM, kind: "point", rings: [[[49.5, 49.5]]] }])[1]?.attributes["d"] ?? "").match(/[\d.]+/g)?.map(Number) ?? [];
    expect(numbers).toHaveLength(16);
    const away = numbers.flatMap((x, n) => (n % 2 ? [] : [Math.hypot(x - 100, (numbers[n + 1] ?? 0) - 100)]));
    expect(Math.min(...away)).toBeGreaterThanOrEqual(3);
  });
  it("draws words alone for words", () => {
    const found = drawn([{ ...ITEM, kind: "text", text: "here", rings: [[[10, 10]]], measurements: [] }]);
    expect(found.map((f) => [f.tag, f.words])).toEqual([["text", "1 · here"]]);
  });
  it("writes no label over another and none beyond the edge", () => {
    const low = { ...ITEM, rings: [[[20, 100], [30, 100]]] as Point[][] };
    const texts = drawn([low, low, low]).filter((f) => f.tag === "text");
    const heights = texts.map((f) => Number(f.attributes["y"])).sort((a, b) => a - b);
    expect(heights).toHaveLength(3);
    heights.slice(1).forEach((y, n) => { expect(y - (heights[n] ?? 0)).toBeGreaterThanOrEqual(12); });
    const [edge] = drawn([{ ...ITEM, rings: [[[245, 100], [248, 100]]] }]).filter((f) => f.tag === "text");
    expect(Number(edge?.attributes["x"])).toBeLessThan(500 - 6 * (edge?.words?.length ?? 0));
  });
  it("tells three layers apart by the dots of their lines", () => {
    expect(new Set([1, 2, 3].map(chain)).size).toBe(3);
    expect(chain(4)).toBe(chain(1));
  });
});

describe("the room", () => {
  it("has a key for the list, in the table and on the sheet", () => {
    expect(command("o", false, [], null)).toEqual({ kind: "action", action: "layers" });
    expect(Object.keys(ACTION_KEYS)).toContain("o");
    expect(HELP.flatMap(([, keys]) => keys).map(([key]) => key)).toContain("O");
  });
  it("draws other readers' marks on their own frame only", () => {
    const mark: Mark = { id: "m", tool: "rectangle", sop_uid: "a", frame: 2, points_px: [[0, 0], [4, 4]], points_mm: null, label: null, rating: null, text: "", measurements: {} };
    const bundle = { previous: [{ label: "Reader A", answers: {}, marks: [mark] }] } as unknown as Bundle;
    expect([1, 2].map((frame) => outlines(bundle, "a", frame, []).length)).toEqual([0, 1]);
  });
});
