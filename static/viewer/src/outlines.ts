// What others saw on an image: the model's lesions and, for arbiters, other readers' marks. Pure.
import type { Outline } from "./engine/overlay";
import type { Bundle, Point, Run } from "./types";

const corners = (x0: number, y0: number, x1: number, y1: number): Point[] => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];

/** Outlines on a frame of the image `uid` in its pixels; the model's lesions are of the whole image. */
export function outlines(bundle: Bundle, uid: string, frame: number, runs: Run[]): Outline[] {
  const out: Outline[] = [];
  for (const run of runs) {
    for (const lesion of run.case?.lesions ?? []) {
      if (lesion.sop_uid !== uid) continue;
      const points = lesion.polygon ?? corners(...lesion.box);
      out.push({ points, closed: true, style: "model", label: `model ${Math.round(lesion.score * 100)} %` });
    }
  }
  bundle.previous.forEach((reader, n) => {
    for (const mark of reader.marks.filter((m) => m.sop_uid === uid && m.frame === frame)) {
      const [a, b] = mark.points_px;
      const boxed = mark.tool === "rectangle" || mark.tool === "ellipse";
      const points = boxed && a && b ? corners(a[0], a[1], b[0], b[1]) : mark.points_px;
      out.push({ points, closed: boxed || mark.tool === "freehand", style: n ? "second" : "other", label: reader.label });
    }
  });
  return out;
}
