// Which image hangs where: pure.
import type { Bundle, ImageRef } from "./types";

export interface Cell {
  title: string;
  when: string; // for priors: how long before the current study, and the date
  stack: ImageRef[]; // one image for projections, many for a stack
  prior: boolean;
  /** Side of the viewport against which the chest wall lies. */
  wall: "left" | "right" | null;
}

export interface Layout {
  columns: number;
  rows: number;
  cells: Cell[];
}

const VIEWS = ["CC", "MLO"];

function best(images: ImageRef[], laterality: string, view: string): ImageRef | undefined {
  return images.find((i) => i.laterality === laterality && i.view === view);
}

/** How long before, as people say it: "14 months earlier · 2016-06-15". */
export function earlier(current: string | null, prior: string | null): string {
  if (!prior) return "date not known";
  const days = current ? Math.round((Date.parse(current) - Date.parse(prior)) / 86_400_000) : NaN;
  if (!(days > 0)) return prior;
  const [count, unit] = days < 14 ? [days, "day"] : days < 60 ? [Math.round(days / 7), "week"] : days < 730 ? [Math.round(days / 30.44), "month"] : [Math.round(days / 365.25), "year"];
  return `${count} ${unit}${count === 1 ? "" : "s"} earlier · ${prior}`;
}

function mammography(images: ImageRef[], prior: boolean, today: string | null): (Cell | null)[][] {
  // right breasts on the left with the chest wall towards the middle: back to back
  return VIEWS.map((view) =>
    ["R", "L"].map((side) => {
      const image = best(images, side, view);
      if (!image) return null;
      const when = prior ? earlier(today, image.study_date) : "";
      return { title: `${prior ? "prior " : ""}${side} ${view}`, when, stack: [image], prior, wall: side === "R" ? "right" : "left" };
    }),
  );
}

function stacks(images: ImageRef[], prior: boolean, today: string | null): Cell[] {
  const groups = new Map<string, ImageRef[]>();
  for (const image of images) groups.set(image.series_uid, [...(groups.get(image.series_uid) ?? []), image]);
  return [...groups.values()].map((stack) => {
    const first = stack[0];
    const name = first ? [first.modality, first.laterality === "U" ? null : first.laterality, first.view].filter(Boolean).join(" ") : "";
    const when = prior ? earlier(today, first?.study_date ?? null) : "";
    return { title: `${prior ? "prior " : ""}${name}`, when, stack, prior, wall: null };
  });
}

/** Cells row by row; views that are missing leave no hole when a whole row or column is missing. */
export function layout(bundle: Pick<Bundle, "hanging" | "images">): Layout {
  const current = bundle.images.filter((i) => i.role === "current");
  const prior = bundle.images.filter((i) => i.role === "prior");
  const today = current[0]?.study_date ?? null;
  if (bundle.hanging === "mammography" && current.some((i) => i.laterality && VIEWS.includes(i.view ?? ""))) {
    const now = mammography(current, false, today);
    const before = mammography(prior, true, today);
    const grid = now.map((row, n) => [...row, ...(before.flat().some(Boolean) ? (before[n] ?? []) : [])]);
    const rows = grid.filter((row) => row.some(Boolean));
    const columns = Math.max(...rows.map((row) => row.length));
    const kept = [...Array(columns).keys()].filter((c) => rows.some((row) => row[c]));
    const cells = rows.flatMap((row) => kept.map((c) => row[c] ?? { title: "", when: "", stack: [], prior: false, wall: null }));
    return { columns: kept.length, rows: rows.length, cells };
  }
  const cells = [...stacks(current, false, today), ...stacks(prior, true, today).slice(0, 1)].slice(0, 6);
  if (!cells.length) return { columns: 1, rows: 1, cells: [] };
  const columns = cells.length === 1 ? 1 : cells.length <= 4 ? 2 : 3;
  return { columns, rows: Math.ceil(cells.length / columns), cells };
}
