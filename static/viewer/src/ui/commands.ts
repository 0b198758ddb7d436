// Everything the finder can do.
import type { Entry as Layer } from "../foreign";
import type { Entry } from "./sheets";

const TOOLS: [string, string][] = [
  ["window", "W"], ["zoom", "Z"], ["pan", "P"], ["magnify", "M"], ["length", "L"], ["rectangle", "R"], ["ellipse", "E"], ["freehand", "F"], ["arrow", "A"],
];
const ACTIONS: [string, string, string][] = [
  ["invert", "Invert", "I"], ["reset", "Reset the image", "0"], ["preset", "Next window preset", "V"], ["heatmap", "Heat map", "H"], ["overlays", "Overlays on and off", "Space"],
  ["mark", "Mark by keys", "X"], ["undo", "Undo", "Ctrl Z"], ["submit", "Submit", "Enter"], ["help", "Keys", "?"],
];

export function commands(windows: Entry[], layers: Layer[], reading: boolean, toggle: (uid: string) => void, use: (tool: string) => void, act: (action: string) => void): Entry[] {
  return [
    ...TOOLS.map(([tool, key]) => ({ name: `Tool: ${tool}`, key, run: () => { use(tool); } })),
    ...layers.map(({ ref, on }) => ({ name: `Other systems: ${ref.title} ${on ? "off" : "on"}`, run: () => { toggle(ref.sop_uid); } })),
    ...windows.map((w) => ({ ...w, name: `Window: ${w.name}` })),
    ...ACTIONS.filter(([action]) => reading || !["submit", "mark"].includes(action)).map(([action, name, key]) => ({ name, key, run: () => { act(action); } })),
    { name: "Go to the worklist", run: () => { location.href = "/worklist/"; } },
    { name: "Go home", run: () => { location.href = "/"; } },
  ];
}
