import { describe, expect, it } from "vitest";

import { ActiveTime, clock } from "../src/activity";
import { kept, missing, shown } from "../src/form";
import { depth, withoutZeroSpacing } from "../src/engine/geometry";
import { earlier, layout } from "../src/hanging";
import { table } from "../src/heatmap/colours";
import { paint, valueAt } from "../src/heatmap/paint";
import { ACTION_KEYS, command, TOOL_KEYS } from "../src/keys";
import { inside, moved, placed } from "../src/keyboard";
import { toAnnotation, toMark, type Space } from "../src/marks";
import { presets } from "../src/presets";
import { matching } from "../src/ui/sheets";
import type { ImageRef, Mark, Question } from "../src/types";

const FORM: Question[] = [
  { key: "recall", label: "Recall", type: "boolean", required: true },
  { key: "birads", label: "BI-RADS", type: "choice", required: true, choices: ["0", "1", "2"].map((v) => ({ value: v, label: v })) },
  { key: "density", label: "Density", type: "choice", required: true, choices: ["A", "B"].map((v) => ({ value: v, label: v })) },
  { key: "why", label: "Why", type: "text", required: true, show_if: { recall: true } },
];

function image(laterality: string | null, view: string | null, role: "current" | "prior" = "current", series = `${laterality}${view}${role}`): ImageRef {
  return {
    study_uid: "1", series_uid: series, sop_uid: `${series}.1`, modality: "MG", laterality, view, rows: 10, columns: 8, frames: 1,
    instance_number: 1, role, study_date: "2020-01-02",
  };
}

describe("hanging", () => {
  it("puts four views back to back", () => {
    const images = [image("L", "MLO"), image("R", "MLO"), image("L", "CC"), image("R", "CC")];
    const plan = layout({ hanging: "mammography", images });
    expect(plan.cells.map((c) => c.title)).toEqual(["R CC", "L CC", "R MLO", "L MLO"]);
    expect(plan.cells.map((c) => c.wall)).toEqual(["right", "left", "right", "left"]);
    expect([plan.columns, plan.rows]).toEqual([2, 2]);
  });
  it("keeps the place of a missing view and drops a missing side", () => {
    const three = layout({ hanging: "mammography", images: [image("R", "CC"), image("L", "CC"), image("L", "MLO")] });
    expect(three.cells.map((c) => c.stack.length)).toEqual([1, 1, 0, 1]);
    const one = layout({ hanging: "mammography", images: [image("L", "CC"), image("L", "MLO")] });
    expect([one.columns, one.rows]).toEqual([1, 2]);
  });
  it("hangs priors beside", () => {
    const images = [image("R", "CC"), image("L", "CC"), image("R", "CC", "prior"), image("L", "CC", "prior")];
    const plan = layout({ hanging: "mammography", images });
    expect(plan.columns).toBe(4);
    expect(plan.cells.map((c) => c.title)).toEqual(["R CC", "L CC", "prior R CC", "prior L CC"]);
  });
  it.each([
    ["2024-03-01", "2024-02-20", "10 days earlier · 2024-02-20"],
    ["2024-03-01", "2024-02-01", "4 weeks earlier · 2024-02-01"],
    ["2024-04-23", "2023-02-23", "14 months earlier · 2023-02-23"],
    ["2024-04-23", "2022-04-24", "2 years earlier · 2022-04-24"],
    ["2024-04-23", "2019-04-24", "5 years earlier · 2019-04-24"],
    [null, "2019-04-24", "2019-04-24"],
    ["2024-04-23", null, "date not known"],
  ])("says how old a prior is: %s, %s", (now, then, words) => { expect(earlier(now, then)).toBe(words); });
  it("stacks a series", () => {
    const slices = [1, 2, 3].map((n) => ({ ...image(null, null, "current", "ct"), modality: "CT", sop_uid: String(n) }));
    const plan = layout({ hanging: "stack", images: slices });
    expect(plan.cells.map((c) => c.stack.length)).toEqual([3]);
  });
});

describe("windows", () => {
  it("offers the file's own first and the customary ones for CT only", () => {
    const voi = { windowCenter: [40, -500], windowWidth: [350, 1400], windowCenterWidthExplanation: ["MEDIASTINUM", "LUNGS"] };
    expect(presets("CT", voi).slice(0, 3)).toEqual([
      { name: "mediastinum", centre: 40, width: 350 }, { name: "lungs", centre: -500, width: 1400 }, { name: "soft tissue", centre: 40, width: 400 },
    ]);
    expect(presets("MG", { windowCenter: 1900, windowWidth: 3000 })).toEqual([{ name: "file", centre: 1900, width: 3000 }]);
    expect(presets("MG", { windowCenter: [5], windowWidth: [0] })).toEqual([]);
    expect(presets("DX", undefined)).toEqual([]);
  });
});

describe("geometry", () => {
  const slice = (position: number[], orientation: number[]) => ({ "00200032": { Value: position }, "00200037": { Value: orientation } });
  it("measures the place along the normal of the slice", () => {
    expect(depth(slice([-100, -90, -205], [1, 0, 0, 0, 1, 0]))).toBe(-205); // axial: z
    expect(depth(slice([12, -90, 30], [0, 1, 0, 0, 0, -1]))).toBe(-12); // sagittal: -x
    expect(depth({})).toBeNull();
  });
  it("takes a spacing of zero for none", () => {
    const json = { "00280030": { Value: [0, 0] }, "00181164": { Value: [0.1, 0.1] }, "00280010": { Value: [4] } };
    expect(Object.keys(withoutZeroSpacing(json))).toEqual(expect.arrayContaining(["00181164", "00280010"]));
    expect(withoutZeroSpacing(json)["00280030"]).toBeUndefined();
  });
});

describe("marks by keys", () => {
  it("are placed around a point and moved or grown", () => {
    expect(placed("rectangle", [50, 40], 20)).toEqual([[40, 30], [60, 50]]);
    const box = { tool: "rectangle" as const, points_px: placed("rectangle", [50, 40], 20) };
    expect(moved(box, 3, -2, false)).toEqual([[43, 28], [63, 48]]);
    expect(moved(box, 3, 0, true)).toEqual([[40, 30], [63, 50]]);
    expect(inside([[-5, 2], [5, 9]], 20, 8)).toEqual([[0, 0], [10, 7]]);
    const round = { tool: "freehand" as const, points_px: placed("freehand", [0, 0], 20) };
    const wide = moved(round, 5, 0, true);
    expect(Math.max(...wide.map((p) => p[0]))).toBeCloseTo(15);
    expect(Math.max(...wide.map((p) => p[1]))).toBeCloseTo(10);
  });
});

describe("commands", () => {
  it("are found by any part of their words", () => {
    const entries = ["Tool: window", "Window: lung", "Submit"].map((name) => ({ name, run: () => undefined }));
    expect(matching(entries, "lung win").map((e) => e.name)).toEqual(["Window: lung"]);
    expect(matching(entries, "")).toHaveLength(3);
  });
});

describe("form", () => {
  it("asks what is shown and keeps only that", () => {
    expect(missing(FORM, {}).map((q) => q.key)).toEqual(["recall", "birads", "density"]);
    expect(missing(FORM, { recall: true, birads: "1", density: "A" }).map((q) => q.key)).toEqual(["why"]);
    expect(kept(FORM, { recall: false, why: "x", other: 1 })).toEqual({ recall: false });
    expect(shown(FORM[3] as Question, { recall: true })).toBe(true);
  });
});

describe("keys", () => {
  it("never gives one key to two things", () => {
    const keys = [...Object.keys(TOOL_KEYS), ...Object.keys(ACTION_KEYS)];
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).not.toContain("y");
    expect(keys).not.toContain("n");
  });
  it("answers and tools do not collide", () => {
    expect(command("n", false, FORM, "birads")).toEqual({ kind: "answer", key: "recall", value: false });
    expect(command("2", false, FORM, "birads")).toEqual({ kind: "answer", key: "birads", value: "2" });
    expect(command("a", false, FORM, "birads")).toEqual({ kind: "tool", tool: "arrow" });
    expect(command("a", false, FORM, "density")).toEqual({ kind: "answer", key: "density", value: "A" });
    expect(command("0", false, [], null)).toEqual({ kind: "action", action: "reset" });
    expect(command("k", true, FORM, null)).toEqual({ kind: "action", action: "palette" });
    expect(command("c", true, FORM, null)).toBeNull();
  });
});

describe("active time", () => {
  it("stops after thirty idle seconds and while hidden", () => {
    const time = new ActiveTime(1000, 0);
    expect(time.value(10_000)).toBe(11_000);
    expect(time.value(100_000)).toBe(31_000); // 30 s after the last touch at 0
    time.touch(100_000);
    expect(time.value(105_000)).toBe(36_000);
    time.seen(false, 105_000);
    time.seen(true, 500_000);
    expect(time.value(501_000)).toBe(37_000);
    expect(clock(125_000)).toBe("02:05");
  });
});

describe("heat map", () => {
  const matrix = { classes: 2, size: 2, data: new Uint8Array([0, 0, 0, 0, 0, 128, 255, 10]) };
  it("takes colours from the published ends", () => {
    expect([...table("viridis").slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...table("inferno").slice(-3)]).toEqual([0xfc, 0xff, 0xa4]);
  });
  it("clears what is below the threshold", () => {
    const pixels = paint(matrix, 1, { map: "inferno", threshold: 0.3 });
    expect([3, 7, 11, 15].map((n) => (pixels[n] ?? 0) > 0)).toEqual([false, true, true, false]);
    expect(pixels[11]).toBe(255);
  });
  it("reads the value of the patch under an image position", () => {
    expect(valueAt(matrix, 1, 1, 9, 8, 10)).toEqual({ value: 1, patch: [0, 1] });
    expect(valueAt(matrix, 1, 7, 0, 8, 10)?.patch).toEqual([1, 0]);
    expect(valueAt(matrix, 1, 9, 0, 8, 10)).toBeNull();
  });
});

describe("marks", () => {
  // 0.5 mm pixels, origin at (100, 200): a pixel's centre n lies at image coordinate n + 0.5
  const space: Space = {
    imageId: () => "id",
    image: () => ({ sopUid: "1.2", frame: 1, patient: true, columns: 100, rows: 100, metric: true }),
    toWorld: (_, [x, y]) => [100 + x / 2, 200 + y / 2, 0],
    toImage: (_, [x, y]) => [(x - 100) * 2, (y - 200) * 2],
  };
  const base = { id: "m", sop_uid: "1.2", frame: 1, points_mm: null, label: "mass", rating: 70, text: "", measurements: {} };
  const cases: Mark[] = [
    { ...base, tool: "length", points_px: [[1, 2], [30, 40]] },
    { ...base, tool: "rectangle", points_px: [[1, 2], [30, 40]] },
    { ...base, tool: "ellipse", points_px: [[1, 2], [31, 40]] },
    { ...base, tool: "freehand", points_px: [[1, 2], [31, 40], [5, 60]] },
    { ...base, tool: "arrow", points_px: [[1, 2], [31, 40]] },
  ];
  it.each(cases)("come back as they were: $tool", (mark) => {
    const made = toAnnotation(mark, space, "frame");
    expect(made).not.toBeNull();
    if (!made) return;
    const back = toMark(made, space, mark);
    expect(back?.points_px).toEqual(mark.points_px);
    expect([back?.label, back?.rating, back?.tool]).toEqual(["mass", 70, mark.tool]);
  });
  it("end at the edge of the image", () => {
    const made = toAnnotation({ ...base, tool: "rectangle", points_px: [[-40, 2], [130, 40]] }, space, "frame");
    expect(made && toMark(made, space)?.points_px).toEqual([[0, 2], [99, 40]]);
  });
  it("give patient coordinates", () => {
    const made = toAnnotation(cases[0] as Mark, space, "frame");
    expect(made && toMark(made, space)?.points_mm?.[0]).toEqual([100.75, 201.25, 0]);
  });
});
