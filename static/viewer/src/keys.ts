// One table of keys. Tools keep their letters; answers take what is left: the key question Y and N, the first
// choice question the digits. Digits go to the question that was touched last.
import type { Question } from "./types";

export type Command =
  | { kind: "tool"; tool: string }
  | { kind: "action"; action: string }
  | { kind: "answer"; key: string; value: boolean | string };

export const TOOL_KEYS: Record<string, string> = {
  w: "window",
  z: "zoom",
  p: "pan",
  l: "length",
  r: "rectangle",
  e: "ellipse",
  f: "freehand",
  a: "arrow",
  m: "magnify",
};

export const ACTION_KEYS: Record<string, string> = {
  i: "invert",
  "0": "reset",
  h: "heatmap",
  o: "layers",
  " ": "overlays",
  "?": "help",
  Enter: "submit",
  Delete: "remove",
  Backspace: "remove",
  ArrowUp: "previous",
  ArrowDown: "next",
  PageUp: "back-10",
  PageDown: "on-10",
  Home: "first",
  End: "last",
  v: "preset",
  x: "mark",
  "[": "narrower",
  "]": "wider",
  ".": "brighter",
  ",": "darker",
  "+": "zoom-in",
  "-": "zoom-out",
};

/** The command of a key press outside text fields; null when it has none. */
export function command(key: string, modifier: boolean, form: Question[], digits: string | null): Command | null {
  if (modifier) {
    if (key.toLowerCase() === "k") return { kind: "action", action: "palette" };
    if (key.toLowerCase() === "z") return { kind: "action", action: "undo" };
    return null;
  }
  const small = key.length === 1 ? key.toLowerCase() : key;
  const question = form.find((q) => q.type === "boolean");
  if (question && (small === "y" || small === "n")) return { kind: "answer", key: question.key, value: small === "y" };
  if (/^[0-9]$/.test(small) || (digits && /^[a-d]$/.test(small))) {
    const target = form.find((q) => q.type === "choice" && (digits ? q.key === digits : true));
    const choice = target?.choices?.find((c) => c.value.toLowerCase() === small);
    if (target && choice && digits) return { kind: "answer", key: target.key, value: choice.value };
    if (target && choice && small !== "0") return { kind: "answer", key: target.key, value: choice.value };
  }
  const tool = TOOL_KEYS[small];
  if (tool) return { kind: "tool", tool };
  const action = ACTION_KEYS[small];
  return action ? { kind: "action", action } : null;
}
