// Theme, menus, the drawer on small screens, dialogs and toasts.
export const typing = (event) => event.target.closest?.("input, textarea, select, [contenteditable]");

export function toast(words) {
  const place = document.querySelector("[data-toasts]");
  if (!place) return;
  const box = document.createElement("div");
  box.className = "toast";
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button quiet";
  close.textContent = "Close";
  close.onclick = () => box.remove();
  box.append(words, close);
  place.append(box);
  setTimeout(() => box.remove(), 8000);
}

function setTheme(theme) {
  const root = document.documentElement;
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  document.cookie = `theme=${theme};path=/;max-age=${theme ? 31536000 : 0};samesite=lax`;
  for (const button of document.querySelectorAll("[data-theme-set]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeSet === theme));
  }
  document.dispatchEvent(new CustomEvent("theme"));
}

function drawer(open) {
  const rail = document.getElementById("rail");
  const button = document.querySelector("[data-toggle-rail]");
  rail?.toggleAttribute("data-open", open);
  button?.setAttribute("aria-expanded", String(open));
  if (open) rail.querySelector("a")?.focus();
}

export function startShell() {
  document.querySelector("dialog[data-open]")?.showModal();
  const theme = document.documentElement.dataset.theme ?? "";
  for (const button of document.querySelectorAll("[data-theme-set]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeSet === theme));
  }
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    if (at("[data-theme-set]")) setTheme(at("[data-theme-set]").dataset.themeSet);
    if (at("[data-toggle-rail]")) drawer(!document.getElementById("rail").hasAttribute("data-open"));
    else if (!at("#rail")) drawer(false);
    if (at("[data-dialog]")) document.getElementById(at("[data-dialog]").dataset.dialog)?.showModal();
    if (at("[data-close]")) at("dialog")?.close();
    if (event.target.tagName === "DIALOG") event.target.close();
    if (at("[data-copy]")) {
      const text = document.getElementById(at("[data-copy]").dataset.copy).textContent.trim();
      navigator.clipboard?.writeText(text).then(() => toast("Copied"));
    }
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    drawer(false);
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.metaKey || event.ctrlKey || event.altKey) return;
    for (const button of document.querySelectorAll("[data-key]")) if (button.dataset.key === event.key) button.click();
  });
  document.addEventListener("input", (event) => {
    const range = event.target.closest("input[type=range][data-output]");
    if (range) document.getElementById(range.dataset.output).textContent = Number(range.value).toFixed(2);
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
  document.body.addEventListener("htmx:responseError", () => toast("That did not work. Nothing was changed; try again."));
  document.body.addEventListener("htmx:sendError", () => toast("The connection is lost. Nothing was changed."));
}
