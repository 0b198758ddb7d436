// What an instance's description says about its place and size. Pure.
export type Json = Record<string, { vr?: string; Value?: unknown[] } | undefined>;

export const PATIENT_POSITION = "00200032";
export const ORIENTATION = "00200037";
export const PIXEL_SPACING = "00280030";
export const IMAGER_SPACING = "00181164";

/** Spacings of zero are found in real files; geometry built on them would be wrong, so they count as absent. */
export function withoutZeroSpacing(json: Json): Json {
  const wrong = (tag: string): boolean => !(json[tag]?.Value ?? []).every((value) => Number(value) > 0);
  return Object.fromEntries(Object.entries(json).filter(([tag]) => ![PIXEL_SPACING, IMAGER_SPACING].includes(tag) || !wrong(tag)));
}

/** Where a slice lies along the normal of its plane, in mm; null where the image does not say. */
export function depth(json: Json): number | null {
  const at = json[PATIENT_POSITION]?.Value?.map(Number);
  const by = json[ORIENTATION]?.Value?.map(Number);
  if (at?.length !== 3 || by?.length !== 6) return null;
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = by;
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d];
  return at.reduce((sum, value, n) => sum + value * (normal[n] ?? 0), 0);
}
