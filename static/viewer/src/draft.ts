// Drafts that are never lost: saved on every change, kept in the browser while the network is away, sent in order.
import { ApiError, Offline, request } from "./api";
import type { Answers, Draft, Mark } from "./types";

export interface Content {
  answers: Answers;
  marks: Mark[];
  active_ms: number;
}

export type SaveState =
  | { kind: "saved"; at: number }
  | { kind: "saving" }
  | { kind: "offline" }
  | { kind: "conflict"; server: Draft }
  | { kind: "error"; message: string };

const WAIT_MS = 400;
const RETRY_MS = 3000;

/** The newest unsent content of an assignment in this browser, or null. */
export function unsent(storage: Storage, assignment: string): (Content & { revision: number }) | null {
  try {
    const text = storage.getItem(`concord-draft-${assignment}`);
    return text ? (JSON.parse(text) as Content & { revision: number }) : null;
  } catch {
    return null;
  }
}

export class DraftKeeper {
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sending: Promise<void> | null = null;
  private pending: Content | null = null;
  private stopped = false;
  state: SaveState = { kind: "saved", at: Date.now() };

  constructor(
    private readonly assignment: string,
    private revision: number,
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
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.flush(), WAIT_MS);
  }

  private store(content: Content): void {
    try {
      const text = JSON.stringify({ ...content, revision: this.revision });
      this.storage.setItem(`concord-draft-${this.assignment}`, text);
    } catch {
      // a full or closed storage only loses the offline copy
    }
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
    if (!content || this.stopped) return;
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
        this.storage.removeItem(`concord-draft-${this.assignment}`);
      }
      this.show({ kind: "saved", at: Date.now() });
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (error instanceof Offline) {
      this.show({ kind: "offline" });
      this.timer = setTimeout(() => void this.flush(), RETRY_MS);
    } else if (error instanceof ApiError && error.status === 409 && error.body["draft"]) {
      this.show({ kind: "conflict", server: error.body["draft"] as Draft });
    } else if (error instanceof ApiError) {
      this.show({ kind: "error", message: error.message });
    } else {
      throw error;
    }
  }

  /** After a conflict: go on from the server's revision with the content that the reader chose. */
  resolve(revision: number, content: Content): void {
    this.revision = revision;
    this.pending = content;
    void this.flush();
  }

  /** The reading is submitted: nothing more is sent. */
  stop(): void {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    this.storage.removeItem(`concord-draft-${this.assignment}`);
  }
}
