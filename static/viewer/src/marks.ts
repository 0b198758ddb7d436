// Marks as the portal keeps them ↔ annotations as Cornerstone draws them. Pure but for the two coordinate functions.
import type { Mark, Point, Tool } from "./types";

export type World = [number, number, number];

/** imageId of a SOP instance and back, and image ↔ world coordinates (a pixel's centre is at n + 0.5 there). */
export interface Space {
  imageId(sopUid: string, frame: number): string | null;
  image(imageId: string): { sopUid: string; frame: number; patient: boolean; columns: number; rows: number; metric: boolean } | null;
  toWorld(imageId: string, point: Point): World;
  toImage(imageId: string, world: World): Point;
}

export interface AnnotationLike {
  annotationUID?: string;
  metadata: { toolName: string; referencedImageId?: string; [key: string]: unknown };
  data: {
    label?: string;
    handles?: { points?: number[][]; [key: string]: unknown };
    contour?: { polyline?: number[][]; closed?: boolean };
    cachedStats?: Record<string, Record<string, unknown>>;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

export const TOOL_NAMES: Record<Tool, string> = {
  length: "Length",
  rectangle: "RectangleROI",
  ellipse: "EllipticalROI",
  freehand: "PlanarFreehandROI",
  arrow: "ArrowAnnotate",
};
const TOOLS = new Map(Object.entries(TOOL_NAMES).map(([tool, name]) => [name, tool as Tool]));

const round = (value: number): number => Math.round(value * 100) / 100;

/** An annotation as a mark; null for tools and images that the portal does not know. */
export function toMark(annotation: AnnotationLike, space: Space, known?: Mark): Mark | null {
  const tool = TOOLS.get(annotation.metadata.toolName);
  const imageId = annotation.metadata.referencedImageId;
  const image = imageId ? space.image(imageId) : null;
  if (!tool || !imageId || !image || !annotation.annotationUID) return null;
  const world = (tool === "freehand" ? annotation.data.contour?.polyline : annotation.data.handles?.points) ?? [];
  const points = world.map((p) => space.toImage(imageId, [p[0] ?? 0, p[1] ?? 0, p[2] ?? 0]));
  if (points.length < 2) return null;
  const corners = tool === "rectangle" || tool === "ellipse" ? box(points) : points;
  return {
    id: annotation.annotationUID,
    tool,
    sop_uid: image.sopUid,
    frame: image.frame,
    // what was drawn beyond the image ends at its edge
    points_px: corners.map(([x, y]) => [
      round(Math.min(Math.max(x - 0.5, 0), image.columns - 1)),
      round(Math.min(Math.max(y - 0.5, 0), image.rows - 1)),
    ]),
    points_mm: image.patient ? world.map((p) => [round(p[0] ?? 0), round(p[1] ?? 0), round(p[2] ?? 0)] as World) : null,
    label: known?.label ?? null,
    rating: known?.rating ?? null,
    text: known?.text ?? "",
    measurements: measured(annotation, image.metric),
  };
}

const SLACK = 0.05; // pixels: what rounding on the way to the screen and back may change

/** Whether two lists hold the same marks; measurements follow from the points and do not count. */
export function alike(a: Mark[], b: Mark[]): boolean {
  const near = (x: number | undefined, y: number | undefined): boolean => x !== undefined && y !== undefined && Math.abs(x - y) <= SLACK;
  return a.length === b.length && a.every((one, n) => {
    const other = b[n];
    return other?.id === one.id && other.label === one.label && other.rating === one.rating && other.text === one.text
      && other.points_px.length === one.points_px.length
      && one.points_px.every(([x, y], i) => near(x, other.points_px[i]?.[0]) && near(y, other.points_px[i]?.[1]));
  });
}

function box(points: Point[]): Point[] {
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  return [
    [Math.min(...xs), Math.min(...ys)],
    [Math.max(...xs), Math.max(...ys)],
  ];
}

/** Numbers in millimetres; an image without spacing is measured in pixels, which are none. */
function measured(annotation: AnnotationLike, metric: boolean): Record<string, number> {
  const stats = Object.values(annotation.data.cachedStats ?? {})[0] ?? {};
  const out: Record<string, number> = {};
  if (!metric) return out;
  if (typeof stats["length"] === "number") out["length_mm"] = round(stats["length"]);
  if (typeof stats["area"] === "number") out["area_mm2"] = round(stats["area"]);
  return out;
}

/** A mark as an annotation to be restored. */
export function toAnnotation(mark: Mark, space: Space, frameOfReference: string): AnnotationLike | null {
  const imageId = space.imageId(mark.sop_uid, mark.frame);
  if (!imageId) return null;
  const at = (x: number, y: number): World => space.toWorld(imageId, [x + 0.5, y + 0.5]);
  const points = mark.points_px.map(([x, y]) => at(x, y));
  const [a, b] = mark.points_px;
  let handles: number[][] = points;
  if (a && b && mark.tool === "rectangle") handles = [at(a[0], a[1]), at(b[0], a[1]), at(a[0], b[1]), at(b[0], b[1])];
  if (a && b && mark.tool === "ellipse") {
    const x = (a[0] + b[0]) / 2;
    const y = (a[1] + b[1]) / 2;
    handles = [at(x, b[1]), at(x, a[1]), at(a[0], y), at(b[0], y)];
  }
  const freehand = mark.tool === "freehand";
  return {
    annotationUID: mark.id,
    highlighted: false,
    invalidated: true,
    isLocked: false,
    isVisible: true,
    metadata: {
      toolName: TOOL_NAMES[mark.tool],
      referencedImageId: imageId,
      FrameOfReferenceUID: frameOfReference,
      viewPlaneNormal: [0, 0, -1],
      viewUp: [0, -1, 0],
    },
    data: {
      label: mark.text,
      text: mark.text,
      handles: {
        points: freehand ? [] : handles,
        activeHandleIndex: null,
        arrowFirst: true,
        textBox: { hasMoved: false, worldPosition: [0, 0, 0], worldBoundingBox: {} },
      },
      ...(freehand ? { contour: { polyline: points, closed: true } } : {}),
      cachedStats: {},
    },
  };
}
