// The live channel: reconnects by itself, tells when it is lost.
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
