// Active time: counts while the tab is seen and the reader did something within the last half minute.
export const IDLE_MS = 30_000;

export class ActiveTime {
  private total: number;
  private last: number | null = null; // when counting last went on
  private touched: number;

  constructor(start: number, now: number) {
    this.total = start;
    this.touched = now;
    this.last = now;
  }

  /** The reader moved, clicked or pressed a key. */
  touch(now: number): void {
    this.count(now);
    this.touched = now;
    this.last ??= now;
  }

  /** The tab was hidden or shown again. */
  seen(visible: boolean, now: number): void {
    this.count(now);
    this.last = visible ? now : null;
    if (visible) this.touched = now;
  }

  /** Milliseconds so far. */
  value(now: number): number {
    this.count(now);
    return Math.round(this.total);
  }

  private count(now: number): void {
    if (this.last === null) return;
    const end = Math.min(now, this.touched + IDLE_MS);
    if (end > this.last) this.total += end - this.last;
    this.last = now;
  }
}

export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
}
