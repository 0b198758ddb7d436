// What the arrow keys mean, and the focus that they move.
export const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Whether an arrow key moved the focus along the elements of this kind, because it was on one of them. */
export function walk(event: KeyboardEvent, kind: string, root: ParentNode): boolean {
  const step = ARROWS[event.key]?.[1];
  const all = [...root.querySelectorAll<HTMLElement>(kind)];
  const at = all.indexOf(event.target as HTMLElement);
  if (!step || at < 0) return false;
  event.preventDefault();
  all[Math.min(Math.max(at + step, 0), all.length - 1)]?.focus();
  return true;
}

/** Move the focus to the first of a list inside `list`, or from there back; returns what had it before. */
export function across(first: HTMLElement | null, list: string, before: HTMLElement | null): HTMLElement | null {
  const now = document.activeElement as HTMLElement | null;
  if (now?.closest(list)) before?.focus();
  else if (first) {
    first.focus();
    return now;
  }
  return before;
}
