// Files are sent with drag and drop, folders and progress: scans at once, reports when their form is sent.

const GROUP_BYTES = 16 * 1024 * 1024;
const GROUP_FILES = 50;
const TRIES = 4;
const TYPED = "Typed text"; // a report's text travels as a file of this name

const form = document.getElementById("upload");
if (form) start(form);

function start(form) {
  const section = document.getElementById("progress");
  const bar = section.querySelector("progress");
  const count = section.querySelector("[data-count]");
  const rate = section.querySelector("[data-rate]");
  const again = section.querySelector("[data-again]");
  const stop = section.querySelector("[data-stop]");
  const table = document.getElementById("results");
  const rows = table.querySelector("tbody");
  const limit = Number(form.dataset.limit);
  const chosen = form.querySelector("[data-chosen]"); // with it, files wait until the form is sent
  const drop = form.querySelector("[data-drop]");
  const batch = crypto.randomUUID();
  const state = { queue: [], failed: [], total: 0, done: 0, files: 0, finished: 0, refused: 0, busy: false, request: null };

  for (const input of form.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => {
      add([...input.files]);
      input.value = "";
    });
  }
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.dataset.over = "";
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => delete drop.dataset.over);
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    add(entries.length ? (await Promise.all(entries.map(walk))).flat() : [...event.dataTransfer.files]);
  });
  stop.addEventListener("click", () => {
    state.failed.push(...state.queue.splice(0));
    state.request?.abort();
  });
  again.addEventListener("click", () => {
    again.hidden = true;
    const files = state.failed.splice(0);
    state.files -= files.length;
    state.total -= files.reduce((sum, file) => sum + file.size, 0);
    add(files);
    if (state.queue.length && !state.busy) run();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = form.elements.text;
    if (text?.value.trim()) {
      add([new File([text.value], TYPED, { type: "text/plain" })]);
    }
    if (!state.queue.length) say("Choose a file or type the report's text.", true);
    else if (!state.busy) run();
  });
  addEventListener("beforeunload", (event) => {
    if (state.busy) event.preventDefault();
  });

  function add(files) {
    for (const file of files) {
      if (file.size > limit) {
        show(file.name, "failed", "The file is larger than this door accepts.");
        continue;
      }
      state.queue.push(file);
      state.files += 1;
      state.total += file.size;
    }
    if (chosen) say(state.queue.length ? state.queue.map((file) => file.name).join(", ") : "");
    else if (state.queue.length && !state.busy) run();
  }

  function say(words, wrong = false) {
    if (!chosen) return;
    chosen.textContent = words;
    chosen.classList.toggle("error", wrong);
  }

  async function run() {
    state.busy = true;
    stop.hidden = false;
    section.hidden = false;
    say("");
    if (chosen) {
      const total = state.queue.reduce((sum, file) => sum + file.size, 0);
      Object.assign(state, { files: state.queue.length, total, done: 0, finished: 0 }); // each handing in on its own
    }
    while (state.queue.length) {
      const group = [];
      let size = 0;
      while (state.queue.length && group.length < GROUP_FILES && (!group.length || size + state.queue[0].size <= GROUP_BYTES)) {
        const file = state.queue.shift();
        group.push(file);
        size += file.size;
      }
      try {
        for (const result of await send(group)) {
          show(result.name, result.state, result.words);
          if (chosen && result.name === TYPED && result.state !== "refused") form.elements.text.value = "";
        }
        state.finished += group.length;
      } catch (error) {
        state.failed.push(...group);
        for (const file of group) show(file.name, "failed", error.message);
      }
      state.done += size;
      tell(0);
    }
    state.busy = false;
    stop.hidden = true;
    again.hidden = !state.failed.length;
    // the next report is another patient's
    if (chosen && !state.failed.length && !state.refused) form.reset();
    state.refused = 0;
  }

  async function send(group) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await once(group);
      } catch (error) {
        if (error.final || attempt === TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
      }
    }
  }

  function once(group) {
    const body = new FormData();
    for (const [name, value] of new FormData(form)) if (typeof value === "string" && name !== "text") body.append(name, value);
    body.append("batch", batch);
    for (const file of group) body.append("files", file, file.name);
    const request = new XMLHttpRequest();
    state.request = request;
    return new Promise((resolve, reject) => {
      const fail = (words, final) => reject(Object.assign(new Error(words), { final }));
      request.upload.onprogress = (event) => tell(event.loaded);
      request.onerror = () => fail("The connection was lost.", false);
      request.onabort = () => fail("Stopped.", true);
      request.onload = () => {
        let answer = null;
        try {
          answer = JSON.parse(request.responseText);
        } catch {
          answer = null;
        }
        if (request.status === 200 && answer) resolve(answer.results);
        else fail(answer?.error?.message ?? `The server answered ${request.status}.`, request.status < 500);
      };
      request.open("POST", form.action);
      request.setRequestHeader("X-CSRFToken", form.querySelector("[name=csrfmiddlewaretoken]").value);
      request.send(body);
    });
  }

  function tell(loaded) {
    const part = state.total ? Math.min(1, (state.done + loaded) / state.total) : 1;
    bar.value = part;
    count.textContent = `${state.finished} of ${state.files} files`;
    rate.textContent = `${Math.round(100 * part)} %`;
  }

  function show(name, kind, words) {
    if (kind === "refused") state.refused += 1;
    table.hidden = false;
    const row = rows.insertRow(0);
    const badge = document.querySelector(`template[data-badge="${CSS.escape(kind)}"]`);
    row.insertCell().append(badge ? badge.content.cloneNode(true) : kind[0].toUpperCase() + kind.slice(1));
    for (const text of [name, words]) row.insertCell().textContent = text;
  }
}

async function walk(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}
