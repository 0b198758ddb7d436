// Requests to the portal: session cookie, CSRF token, one kind of error.
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: Record<string, unknown>,
  ) {
    super(message);
  }
}

/** The network did not carry the request; it may be sent again. */
export class Offline extends Error {}

function cookie(name: string): string {
  return document.cookie.match(new RegExp(`(?:^|; )${name}=([^;]*)`))?.[1] ?? "";
}

export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        "X-CSRFToken": cookie("csrftoken"),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive: method !== "GET" && JSON.stringify(body ?? "").length < 50_000,
    });
  } catch {
    throw new Offline("The portal cannot be reached.");
  }
  const text = await answer.text();
  if (!answer.ok) {
    let content: Record<string, unknown> = {};
    try {
      content = JSON.parse(text) as Record<string, unknown>;
    } catch {
      // an error page of a proxy; the status says enough
    }
    const error = (content["error"] ?? {}) as { code?: string; message?: string };
    if (answer.status >= 502 && answer.status <= 504) throw new Offline("The portal is being restarted.");
    throw new ApiError(answer.status, error.code ?? "error", error.message ?? `Error ${answer.status}`, content);
  }
  return (text ? JSON.parse(text) : null) as T;
}

export interface Matrix {
  classes: number;
  size: number;
  data: Uint8Array;
}

/** A probability matrix, uint8 = probability × 255, (K, N, N) in C order. */
export async function matrix(path: string, row: number): Promise<Matrix> {
  const answer = await fetch(`${path}?row=${row}`, { credentials: "same-origin" });
  if (!answer.ok) throw new ApiError(answer.status, "matrix", `The heat map could not be fetched (${answer.status}).`, {});
  const [classes = 0, size = 0] = (answer.headers.get("X-Shape") ?? "").split(",").map(Number);
  const data = new Uint8Array(await answer.arrayBuffer());
  if (!classes || data.length !== classes * size * size) throw new Error("The heat map is not of the announced size.");
  return { classes, size, data };
}
