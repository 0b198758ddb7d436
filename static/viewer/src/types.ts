// Shapes of the reading room's API; docs/engineers/viewer-api.md describes them.
export type Answer = boolean | number | string | string[];
export type Answers = Record<string, Answer>;
export type Point = [number, number];
export type Tool = "length" | "rectangle" | "ellipse" | "freehand" | "arrow";

export interface Question {
  key: string;
  label: string;
  type: "boolean" | "choice" | "multi" | "scale" | "text";
  required: boolean;
  choices?: { value: string; label: string }[];
  min?: number;
  max?: number;
  step?: number;
  shortcut?: string;
  show_if?: Record<string, Answer>;
}

export interface Mark {
  id: string;
  tool: Tool;
  sop_uid: string;
  frame: number;
  points_px: Point[]; // column, row; pixel centres are whole numbers
  points_mm: [number, number, number][] | null; // patient coordinates where the image has them
  label: string | null;
  rating: number | null; // 0 to 100
  text: string;
  measurements: Record<string, number>;
}

export interface ImageRef {
  study_uid: string;
  series_uid: string;
  sop_uid: string;
  modality: string;
  laterality: string | null;
  view: string | null;
  rows: number;
  columns: number;
  frames: number;
  instance_number: number | null;
  role: "current" | "prior";
  study_date: string | null;
}

export interface Lesion {
  sop_uid: string;
  box: [number, number, number, number];
  score: number;
  class_name: string;
  polygon?: Point[];
}

export interface RunImage {
  sop_uid: string;
  score: number | null;
  rows: number[];
  classes: string[];
  global: Record<string, number>;
  present: Record<string, boolean>;
  thresholds: Record<string, number>;
  regions: { class_name: string; box: [number, number, number, number]; score: number }[];
  matrix: string;
}

export interface Run {
  id: string;
  function: { slug: string; name: string; version: string; output_type: "heatmap" | "malignancy" };
  state: "held" | "queued" | "running" | "done" | "failed" | "cancelled";
  progress: number;
  stage: string;
  error: { code: string; message: string } | null;
  case: {
    score: number | null;
    call: boolean | null;
    threshold: number | null;
    sides: Record<string, number>;
    views: Record<string, number>;
    missing_views: string[];
    lesions: Lesion[];
  } | null;
  images: RunImage[];
}

/** A window in the image's values after rescale, and whether grey was turned over. */
export interface Shown {
  centre: number;
  width: number;
  inverted: boolean;
}

export interface Draft {
  revision: number;
  answers: Answers;
  marks: Mark[];
  active_ms: number;
  saved_at: string;
}

export interface Previous {
  label: string;
  answers: Answers;
  marks: Mark[];
}

/** A report, segmentation or presentation state of another system; what it shows is behind `url`. */
export interface LayerRef {
  sop_uid: string;
  kind: "report" | "segmentation" | "presentation";
  title: string;
  description: string;
  maker: string;
  day: string;
  url: string;
}

export interface Bundle {
  id: string | null;
  kind: "first" | "second" | "arbitration" | "view";
  state: string;
  programme: { slug: string; name: string } | null;
  mode: "blinded" | "second_reader" | "on_demand" | "verification" | null;
  case: { id: number; number: number | null; total: number | null; modality: string; description: string };
  hanging: "mammography" | "chest" | "stack";
  images: ImageRef[];
  protocol: { version: number | null; form: Question[]; labels: { code: string; name: string }[]; tools: Tool[] };
  model: { visible: boolean; reason: string; runs: Run[] };
  layers: LayerRef[];
  previous: Previous[];
  why: string;
  draft: Draft | null;
  submitted_at: string | null;
  next: { id: string; study_uid: string } | null;
}

export interface Page {
  mode: "read" | "view";
  assignment: string | null;
  study_uid: string;
  user: { name: string };
}
