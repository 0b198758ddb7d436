// The live channel: reconnects by itself, tells when it is lost.
import type { Bundle } from "./types";
export interface LiveEvent {
  type: string;
  data: Record<string, unknown>;
}

export function connect(onEvent: (event: LiveEvent) => void, onState: (open: boolean) => void): () => void {
  let socket: WebSocket | null = null;
  let ended = false;
  let pause = 1000;
  const open = (): void => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws/live/`);
    socket.onopen = () => {
      pause = 1000;
      onState(true);
    };
    socket.onmessage = (message) => {
      onEvent(JSON.parse(String(message.data)) as LiveEvent);
    };
    socket.onclose = () => {
      onState(false);
      if (!ended) setTimeout(open, pause);
      pause = Math.min(pause * 2, 15_000);
    };
  };
  open();
  return () => {
    ended = true;
    socket?.close();
  };
}

/** Whether an event tells of the model's output on what is open, as far as that may be seen. */
export function aboutOutput(event: LiveEvent, bundle: Bundle): boolean {
  if (event.type === "reading.alerted") return event.data["assignment"] === bundle.id;
  if (event.type !== "run.progress" && event.type !== "run.finished") return false;
  return (bundle.model.visible || !bundle.id) && bundle.images.some((i) => i.study_uid === event.data["study_uid"]);
}

/** Enter how far a run has come; false when the event says more than that. */
export function progressed(event: LiveEvent, bundle: Bundle): boolean {
  if (event.type !== "run.progress") return false;
  const run = bundle.model.runs.find((r) => r.id === event.data["run"]);
  if (run) Object.assign(run, { progress: event.data["progress"], stage: event.data["stage"], state: "running" });
  return true;
}

/** What the reader is asked by others, in words; empty for other events. */
export function askedBack(event: LiveEvent): string {
  if (event.type !== "reading.cancel_asked") return "";
  const why = String(event.data["why"]);
  return `You are asked to give case ${String(event.data["number"])} back${why ? `: ${why}` : ""}`;
}
