import { beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError, Offline } from "../src/api";
import { DraftKeeper, unsent, type Content } from "../src/draft";

class Store implements Storage {
  private readonly items = new Map<string, string>();
  get length(): number { return this.items.size; }
  clear(): void { this.items.clear(); }
  getItem(key: string): string | null { return this.items.get(key) ?? null; }
  key(n: number): string | null { return [...this.items.keys()][n] ?? null; }
  removeItem(key: string): void { this.items.delete(key); }
  setItem(key: string, value: string): void { this.items.set(key, value); }
}

const content = (comment: string): Content => ({ answers: { comment }, marks: [], active_ms: 1 });

describe("drafts", () => {
  let store: Store;
  beforeEach(() => {
    store = new Store();
    vi.useFakeTimers();
  });

  function keeper(send: (method: string, path: string, body?: unknown) => Promise<unknown>): DraftKeeper {
    return new DraftKeeper("a", 0, "tab", () => undefined, store, send as never);
  }

  it("sends only the last of quick changes and forgets the copy", async () => {
    const bodies: unknown[] = [];
    const drafts = keeper((_m, _p, body) => { bodies.push(body); return Promise.resolve({ revision: bodies.length }); });
    drafts.keep(content("o"));
    drafts.keep(content("one"));
    expect(unsent(store, "a")?.answers).toEqual({ comment: "one" });
    await vi.advanceTimersByTimeAsync(500);
    expect(bodies).toEqual([{ ...content("one"), revision: 0, client: "tab" }]);
    expect(drafts.state.kind).toBe("saved");
    expect(unsent(store, "a")).toBeNull();
  });

  it("keeps the copy while offline and sends it when the network is back, with the right revision", async () => {
    const bodies: { revision: number }[] = [];
    let away = true;
    const drafts = keeper((_m, _p, body) => {
      if (away) return Promise.reject(new Offline("away"));
      bodies.push(body as { revision: number });
      return Promise.resolve({ revision: 7 });
    });
    drafts.keep(content("kept"));
    await vi.advanceTimersByTimeAsync(500);
    expect(drafts.state.kind).toBe("offline");
    expect(unsent(store, "a")?.answers).toEqual({ comment: "kept" });
    away = false;
    await vi.advanceTimersByTimeAsync(4000);
    expect(bodies.map((b) => b.revision)).toEqual([0]);
    drafts.keep(content("next"));
    await vi.advanceTimersByTimeAsync(500);
    expect(bodies.map((b) => b.revision)).toEqual([0, 7]);
  });

  it("shows a conflict and goes on from the chosen content", async () => {
    const server = { revision: 5, answers: {}, marks: [], active_ms: 0, saved_at: "" };
    let refuse = true;
    const bodies: { revision: number }[] = [];
    const drafts = keeper((_m, _p, body) => {
      bodies.push(body as { revision: number });
      return refuse ? Promise.reject(new ApiError(409, "conflict", "changed", { draft: server })) : Promise.resolve({ revision: 6 });
    });
    drafts.keep(content("mine"));
    await vi.advanceTimersByTimeAsync(500);
    expect(drafts.state).toEqual({ kind: "conflict", server });
    refuse = false;
    drafts.resolve(5, content("mine"));
    await vi.advanceTimersByTimeAsync(10);
    expect(bodies.at(-1)?.revision).toBe(5);
    expect(drafts.state.kind).toBe("saved");
  });

  it("keeps the copies of two windows apart", async () => {
    const away = (): Promise<never> => Promise.reject(new Offline("away"));
    const one = new DraftKeeper("a", 3, "one", () => undefined, store, away as never);
    const two = new DraftKeeper("a", 3, "two", () => undefined, store, (() => Promise.resolve({ revision: 4 })) as never);
    one.keep(content("of one"));
    await vi.advanceTimersByTimeAsync(500);
    two.keep(content("of two"));
    await vi.advanceTimersByTimeAsync(500);
    expect(two.state.kind).toBe("saved");
    expect(unsent(store, "a")).toMatchObject({ answers: { comment: "of one" }, revision: 3, client: "one" });
  });

  it("asks when the server's draft moved on while this browser was closed", async () => {
    const send = vi.fn(() => Promise.resolve({ revision: 6 }));
    const copy = { ...content("kept here"), revision: 3, at: 1, client: "gone" };
    const server = { revision: 5, answers: { comment: "from elsewhere" }, marks: [], active_ms: 0, saved_at: "" };
    const drafts = new DraftKeeper("a", 5, "tab", () => undefined, store, send as never);
    drafts.resume(copy, server);
    await vi.advanceTimersByTimeAsync(4000);
    expect(drafts.state).toEqual({ kind: "conflict", server });
    drafts.keep(content("typed on"));
    await vi.advanceTimersByTimeAsync(4000);
    expect(send).not.toHaveBeenCalled();
    expect(unsent(store, "a")?.answers).toEqual({ comment: "typed on" });
  });

  it("asks nothing when the server has the same already", async () => {
    const server = { revision: 5, answers: { comment: "same" }, marks: [], active_ms: 9, saved_at: "" };
    const drafts = keeper((_m, _p, body) =>
      (body as { revision: number }).revision === 5 ? Promise.resolve({ revision: 6 }) : Promise.reject(new ApiError(409, "conflict", "changed", { draft: server })),
    );
    drafts.keep(content("same"));
    await vi.advanceTimersByTimeAsync(600);
    expect(drafts.state.kind).toBe("saved");
    expect(unsent(store, "a")).toBeNull();
  });

  it.each([[503, "server"], [429, "server"], [401, "session"]])("tries again after %i", async (status, why) => {
    let down = true;
    const drafts = keeper(() => (down ? Promise.reject(new ApiError(status, "error", "down", {})) : Promise.resolve({ revision: 1 })));
    drafts.keep(content("kept"));
    await vi.advanceTimersByTimeAsync(500);
    expect(drafts.state).toEqual({ kind: "offline", why });
    down = false;
    await vi.advanceTimersByTimeAsync(4000);
    expect(drafts.state.kind).toBe("saved");
  });

  it("sends nothing after the reading is submitted", async () => {
    const send = vi.fn(() => Promise.resolve({ revision: 1 }));
    const drafts = keeper(send);
    drafts.keep(content("late"));
    drafts.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(send).not.toHaveBeenCalled();
    expect(unsent(store, "a")).toBeNull();
  });
});
