// Named windows: those of the file first, then what is customary for the modality. Pure.
export interface Preset {
  name: string;
  centre: number;
  width: number;
}

// width and centre in HU as common CT teaching material gives them
const CT: Preset[] = [
  { name: "soft tissue", centre: 40, width: 400 },
  { name: "lung", centre: -600, width: 1500 },
  { name: "bone", centre: 400, width: 1800 },
  { name: "brain", centre: 40, width: 80 },
  { name: "liver", centre: 60, width: 160 },
];

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);

/** Windows to choose from; the file's own (PS3.3 C.11.2.1.2) come first, under their explanation. */
export function presets(modality: string, voi: { windowCenter?: unknown; windowWidth?: unknown; windowCenterWidthExplanation?: unknown } | undefined): Preset[] {
  const centres = list(voi?.windowCenter).map(Number);
  const widths = list(voi?.windowWidth).map(Number);
  const names = list(voi?.windowCenterWidthExplanation).map(String);
  const own = centres.flatMap((centre, n) => {
    const width = widths[n] ?? NaN;
    if (!Number.isFinite(centre) || !(width > 0)) return [];
    const name = names[n]?.trim().toLowerCase();
    return [{ name: name !== undefined && name !== "" ? name : centres.length > 1 ? `file ${n + 1}` : "file", centre, width }];
  });
  return modality === "CT" ? [...own, ...CT] : own;
}
