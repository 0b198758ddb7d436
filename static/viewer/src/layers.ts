// The layers of other systems in the room: fetched after the images, off until the reader switches them on.
import { ApiError, request } from "./api";
import { shapes, type Entry, type ForeignLayer, type Shape } from "./foreign";
import type { LayerRef } from "./types";

const AHEAD = 12; // layers that are fetched before anybody asks, so that switching them on is instant

export class Layers {
  entries: Entry[] = [];
  private readonly asked = new Map<string, Promise<void>>();

  constructor(private readonly changed: () => void) {}

  /** Another case: all off. */
  open(refs: LayerRef[]): void {
    this.entries = [];
    this.asked.clear();
    this.renew(refs);
  }

  /** What may be seen of the same case changed: those that stay keep their state. */
  renew(refs: LayerRef[]): void {
    const known = new Map(this.entries.map((entry) => [entry.ref.sop_uid, entry]));
    this.entries = refs.map((ref) => known.get(ref.sop_uid) ?? { ref, on: false, data: null, fault: "" });
  }

  /** Fetch the first ones, one after the other. */
  async learn(): Promise<void> {
    for (const entry of this.entries.slice(0, AHEAD)) if (this.entries.includes(entry)) await this.fetch(entry);
  }

  toggle(uid: string): void {
    const entry = this.entries.find((e) => e.ref.sop_uid === uid);
    if (!entry) return;
    entry.on = !entry.on;
    if (entry.on && !entry.data) void this.fetch(entry);
    this.changed();
  }

  shapes(uid: string, frame: number): Shape[] {
    return shapes(this.entries, uid, frame);
  }

  private fetch(entry: Entry): Promise<void> {
    const { url } = entry.ref;
    const before = this.asked.get(url);
    if (before) return before;
    entry.fault = "";
    const asking = request<ForeignLayer>("GET", url).then(
      (data) => { entry.data = data; },
      (error: unknown) => {
        entry.fault = error instanceof ApiError && error.status === 404 ? "It is not there any more, or not for you to see now." : error instanceof Error ? error.message : "It cannot be read.";
        this.asked.delete(url); // switching it on again tries again
      },
    ).then(() => { if (this.entries.includes(entry)) this.changed(); });
    this.asked.set(url, asking);
    return asking;
  }
}
