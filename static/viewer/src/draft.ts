// Drafts that are never lost: saved on every change, kept in the browser while the network is away, sent in order.
// Each window keeps its own copy, so that two windows never take each other's away.
import { ApiError, Offline, request } from "./api";
import { alike } from "./marks";
import type { Answers, Draft, Mark } from "./types";

export interface Content {
  answers: Answers;
  marks: Mark[];
  active_ms: number;
}

/** What a window could not send yet, with the server's revision that it was made on. */
export interface Copy extends Content {
  revision: number;
  at: number; // milliseconds since 1970
  client: string; // the window
}

export type SaveState =
  | { kind: "saved"; at: number }
  | { kind: "saving" }
  | { kind: "offline"; why: "network" | "session" | "server" }
  | { kind: "conflict"; server: Draft }
  | { kind: "closed" } // submitted elsewhere: nothing can be saved any more
  | { kind: "error"; message: string };

const WAIT_MS = 400;
const RETRY_MS = 3000;
const prefix = (assignment: string): string => `concord-draft-${assignment}-`;

function copies(storage: Storage, assignment: string): string[] {
  const keys = Array.from({ length: storage.length }, (_, n) => storage.key(n) ?? "");
  return keys.filter((key) => key.startsWith(prefix(assignment)));
}

/** The newest unsent content of an assignment in this browser, or null. */
export function unsent(storage: Storage, assignment: string): Copy | null {
  try {
    const found = copies(storage, assignment).map((key) => JSON.parse(storage.getItem(key) ?? "{}") as Copy);
    return found.sort((a, b) => b.at - a.at)[0] ?? null;
  } catch {
    return null;
  }
}

/** Whether two drafts say the same; the time they took does not count. */
export function same(a: Content, b: Content): boolean {
  const plain = (answers: Answers): string => JSON.stringify(Object.entries(answers).sort(([x], [y]) => (x < y ? -1 : 1)));
  return plain(a.answers) === plain(b.answers) && alike(a.marks, b.marks);
}

export class DraftKeeper {
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sending: Promise<void> | null = null;
  private pending: Content | null = null;
  private stopped = false;
  private adopted = ""; // the window whose copy is gone on with
  state: SaveState = { kind: "saved", at: Date.now() };

  constructor(
    private readonly assignment: string,
    public revision: number, // the server's, as this window saw it last
    private readonly client: string,
    private readonly changed: () => void,
    private readonly storage: Storage = localStorage,
    private readonly send: typeof request = request,
  ) {}

  /** Keep this content: at once in the browser, soon on the server. */
  keep(content: Content): void {
    if (this.stopped) return;
    this.pending = content;
    this.store(content);
    if (this.state.kind === "conflict") return; // the reader chooses first
    this.later(WAIT_MS);
  }

  /** Go on with what an earlier window could not send; the server's draft may have moved on since. */
  resume(copy: Copy, server: Draft | null): void {
    this.adopted = copy.client;
    if (server && server.revision > copy.revision && !same(server, copy)) this.show({ kind: "conflict", server });
    this.keep({ answers: copy.answers, marks: copy.marks, active_ms: copy.active_ms });
  }

  private later(ms: number): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.flush(), ms);
  }

  private store(content: Content): void {
    try {
      const copy: Copy = { ...content, revision: this.revision, at: Date.now(), client: this.client };
      this.storage.setItem(prefix(this.assignment) + this.client, JSON.stringify(copy));
    } catch {
      // a full or closed storage only loses the offline copy
    }
  }

  /** What was stored here is sent; a living window's own copy stays. */
  private forget(): void {
    for (const client of [this.client, this.adopted]) this.storage.removeItem(prefix(this.assignment) + client);
  }

  private forgetAll(): void {
    for (const key of copies(this.storage, this.assignment)) this.storage.removeItem(key);
  }

  private show(state: SaveState): void {
    this.state = state;
    this.changed();
  }

  /** Send what is pending; returns when it is there or cannot be sent now. */
  async flush(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (this.sending) await this.sending;
    const content = this.pending;
    if (!content || this.stopped || this.state.kind === "conflict") return;
    this.sending = this.put(content);
    await this.sending;
    this.sending = null;
  }

  private async put(content: Content): Promise<void> {
    this.show({ kind: "saving" });
    try {
      const body = { ...content, revision: this.revision, client: this.client };
      const answer = await this.send<{ revision: number }>("PUT", `/api/v1/assignments/${this.assignment}/draft/`, body);
      this.revision = answer.revision;
      if (this.pending === content) {
        this.pending = null;
        this.forget();
      }
      this.show({ kind: "saved", at: Date.now() });
    } catch (error) {
      this.failed(error, content);
    }
  }

  private failed(error: unknown, content: Content): void {
    const status = error instanceof ApiError ? error.status : 0;
    if (error instanceof Offline) this.wait("network");
    else if (status === 401 || status === 403) this.wait("session");
    else if (status === 429 || status >= 500) this.wait("server");
    else if (error instanceof ApiError && status === 409 && error.body["draft"]) {
      const server = error.body["draft"] as Draft;
      if (same(server, content)) this.resolve(server.revision, this.pending ?? content); // another window sent the same
      else this.show({ kind: "conflict", server });
    } else if (status === 410) {
      this.stop();
      this.show({ kind: "closed" });
    } else if (error instanceof ApiError) this.show({ kind: "error", message: error.message });
    else throw error;
  }

  private wait(why: "network" | "session" | "server"): void {
    this.show({ kind: "offline", why });
    this.later(RETRY_MS);
  }

  /** The submission found a newer draft: nothing is sent until the reader has chosen. */
  conflict(server: Draft): void {
    this.show({ kind: "conflict", server });
  }

  /** After a conflict: go on from the server's revision with the content that the reader chose. */
  resolve(revision: number, content: Content): void {
    this.revision = revision;
    this.pending = content;
    this.state = { kind: "saving" };
    this.later(0);
  }

  /** Nothing more is sent, and no window's copy is kept: submitted, or given up for the server's draft. */
  stop(): void {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    this.forgetAll();
  }
}
