// Perceptual colour maps as 256 × RGB tables, between published control points (matplotlib's tables).
export type MapName = "inferno" | "viridis" | "cividis" | "jet";

const STOPS: Record<MapName, string> = {
  inferno: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
  viridis: "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
  cividis: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
  jet: "00007f 0000ff 007fff 00ffff 7fff7f ffff00 ff7f00 ff0000 7f0000",
};
export const MAPS = Object.keys(STOPS) as MapName[];
const made = new Map<MapName, Uint8Array>();

export function table(name: MapName): Uint8Array {
  const known = made.get(name);
  if (known) return known;
  const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const out = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      const a = stops[low]?.[c] ?? 0;
      const b = stops[low + 1]?.[c] ?? 0;
      out[i * 3 + c] = Math.round(a + (b - a) * (at - low));
    }
  }
  made.set(name, out);
  return out;
}
