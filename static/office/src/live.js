// The live channel: passes every event on as `live:<type>` on the body, and renews [data-live] parts.
import htmx from "htmx.org";
import { morph } from "./morph.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const GATHER = 150; // events that come together renew a part once

export function startLive() {
  if (!("liveChannel" in document.body.dataset)) return;
  const dot = document.querySelector("[data-live-dot]");
  let wait = FIRST_WAIT;
  let lost = false;

  const show = (on) => {
    if (!dot) return;
    dot.dataset.state = on ? "on" : "off";
    const words = on ? "Live" : "Offline, trying again";
    dot.querySelector(".word").textContent = words;
    dot.title = on ? "Changes appear here at once" : "The connection is lost; what you do is kept";
  };

  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/live/`);
    socket.onopen = () => {
      wait = FIRST_WAIT;
      show(true);
      // what was missed meanwhile: since the connection was lost, or since the server drew what is at work
      if (lost || document.querySelector("[data-live] .badge.waiting, [data-live][data-waits]")) renewAll();
      lost = false;
    };
    socket.onmessage = (message) => {
      const event = JSON.parse(message.data);
      document.body.dispatchEvent(new CustomEvent(`live:${event.type}`, { detail: event }));
      renew(event.type);
    };
    socket.onclose = (event) => {
      show(false);
      lost = true;
      if (event.code === 4401) return; // signed out
      setTimeout(connect, wait * (0.7 + 0.6 * Math.random()));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    };
  };
  connect();
}

let due = new Set();
let timer = 0;

function renew(type) {
  for (const part of document.querySelectorAll("[data-live]")) {
    if (part.dataset.live.split(/[\s,]+/).includes(type)) due.add(part.id);
  }
  schedule();
}

function renewAll() {
  for (const part of document.querySelectorAll("[data-live]")) due.add(part.id);
  schedule();
}

function schedule() {
  if (due.size && !timer) timer = setTimeout(fetchDue, GATHER);
}

async function fetchDue() {
  const ids = due;
  due = new Set();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ids) {
      const before = document.getElementById(id);
      const after = page.getElementById(id);
      if (!before || !after || before.querySelector("form :focus")) continue;
      morph(before, after.outerHTML);
      const now = document.getElementById(id);
      htmx.process(now);
      now.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
    }
  } catch {
    // the dot says that the connection is lost; the next event or the reconnection renews
  } finally {
    timer = 0;
    schedule();
  }
}
