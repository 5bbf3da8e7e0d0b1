// The part of a screen that ipywidgets have no words for: what a click on a drawn button means,
// keys, roles and labels, the host's theme, a running clock, and what is said when the kernel
// goes. It draws nothing itself; it finds its screen as the nearest .trtlab-screen around it.

const TICK_MS = 500;
const LOOK_MS = 10000;
const ESCAPES_MS = 1200;
const PICTURE_MS = 1500;
const TYPING = "input,textarea,select,[contenteditable=true],.noUi-handle";

const connected = (el) => new Promise((resolve) => {
  const look = () => (el.isConnected ? resolve() : requestAnimationFrame(look));
  look();
});

function hostTheme() {
  const said = document.body.dataset.jpThemeLight ?? document.documentElement.dataset.jpThemeLight;
  if (said !== undefined) return said === "true" ? "light" : "dark";
  return document.body.classList.contains("theme-dark") ? "dark" : "light";
}

// What stays the same when a part of the screen is drawn again, to find it once more.
function keyOf(node) {
  const el = node?.closest?.("[data-act],[data-key],button,input,select,summary,.noUi-handle");
  if (!el) return null;
  if (el.dataset.key) return `[data-key="${CSS.escape(el.dataset.key)}"]`;
  if (!el.dataset.act) return null;
  const value = el.dataset.value ?? "";
  return `[data-act="${CSS.escape(el.dataset.act)}"][data-value="${CSS.escape(value)}"]`;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = document.createElement("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}

async function render({ model, el }) {
  await connected(el);
  const screen = el.closest(".trtlab-screen");
  if (!screen) return undefined;
  const stop = new AbortController();
  const on = (target, name, what, options) =>
    target.addEventListener(name, what, { signal: stop.signal, ...options });
  const send = (act, value = "") => model.send({ act, value });

  // Theme: the host's, until somebody chose one.
  const tellTheme = () => {
    if (model.get("host_theme") === hostTheme()) return;
    model.set("host_theme", hostTheme());
    model.save_changes();
  };
  const themes = new MutationObserver(tellTheme);
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });

  // Buttons that are drawn: data-act and data-value say what they mean.
  on(screen, "click", (event) => {
    const found = event.target.closest("[data-act],[data-copy]");
    if (!found || !screen.contains(found) || found.getAttribute("aria-disabled") === "true") return;
    if (found.dataset.copy !== undefined) {
      const text = screen.querySelector(`[data-text="${CSS.escape(found.dataset.copy)}"]`);
      copy(text?.textContent ?? "").then(() => send("copied", found.dataset.copy));
    } else {
      send(found.dataset.act, found.dataset.value ?? "");
    }
  });
  // A drawn field: its value is sent when it is settled.
  on(screen, "change", (event) => {
    const found = event.target.closest("[data-change]");
    if (!found) return;
    const value = found.type === "checkbox" ? String(found.checked) : found.value;
    send(found.dataset.change, value);
  });
  // A file that no message can carry is refused before the page reads it. ipywidgets keeps its
  // file field outside the page, where nobody hears it: it is met at the moment it is opened.
  const refuse = (event) => {
    const file = event.target.files?.[0];
    if (!file || file.size <= model.get("upload_bytes")) return;
    event.stopImmediatePropagation();
    event.target.value = "";
    send("too-large", `${file.name}\n${file.size}`);
  };
  on(screen, "click", (event) => {
    if (!event.target.closest(".trtlab-upload")) return;
    const fields = HTMLInputElement.prototype;
    const open = fields.click;
    const back = () => { fields.click = open; };
    fields.click = function () {
      back();
      on(this, "change", refuse, { capture: true });
      open.call(this);
    };
    setTimeout(back);
  }, { capture: true });
  on(screen, "input", (event) => {
    const found = event.target.closest("[data-filter]");
    if (found) filterRows(found);
  });

  // A search field hides the rows of the table that it names; Enter goes to the first hit.
  function filterRows(field) {
    const words = field.value.trim().toLowerCase();
    const rows = screen.querySelectorAll(`[data-rows="${CSS.escape(field.dataset.filter)}"] tbody tr`);
    let hits = 0;
    for (const row of rows) {
      row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
      if (!row.hidden) hits += 1;
    }
    const count = screen.querySelector(`[data-count="${CSS.escape(field.dataset.filter)}"]`);
    if (count) count.textContent = words ? `${hits} of ${rows.length}` : "";
  }

  // Keys, only while focus is inside.
  let lastEscape = 0;
  const tabs = () => [...screen.querySelectorAll("[role=tab]")];
  const focusIn = (selector) => {
    const places = [...screen.querySelectorAll(selector)];
    const found = places.find((one) => one.offsetParent !== null && !one.disabled);
    found?.focus();
    return Boolean(found);
  };
  // Before the fields of ipywidgets, which let no key out.
  on(screen, "keydown", (event) => {
    if (event.key !== "F6" || event.ctrlKey || event.metaKey || event.altKey) return;
    const places = [".trtlab-rail", "[role=tablist]", ".trtlab-panel"];
    const now = places.findIndex((place) => event.target.closest?.(place));
    const next = places[(now + 1) % places.length];
    const first = `${next} button:not([tabindex="-1"]),${next} input,${next} select,${next} [tabindex="0"]`;
    if (!focusIn(first)) screen.querySelector(next)?.focus();
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true });
  on(screen, "keydown", (event) => {
    const { key } = event;
    const arrows = { ArrowLeft: -1, ArrowRight: 1, Home: -99, End: 99 };
    if (event.target.role === "tab" && key in arrows) {
      const all = tabs().filter((tab) => tab.getAttribute("aria-disabled") !== "true");
      const at = all.indexOf(event.target);
      const next = all[Math.max(0, Math.min(all.length - 1, at + arrows[key]))];
      next?.focus();
      if (next) send("tab", next.dataset.value);
      event.preventDefault();
      return;
    }
    const row = event.target.closest?.("tr[tabindex]");
    if (row && (key === "ArrowDown" || key === "ArrowUp")) {
      const all = [...row.parentElement.querySelectorAll("tr[tabindex]")].filter((one) => !one.hidden);
      all[all.indexOf(row) + (key === "ArrowDown" ? 1 : -1)]?.focus();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if ((key === "Enter" || key === " ") && event.target.matches?.("tr[data-act]")) {
      send(event.target.dataset.act, event.target.dataset.value ?? "");
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!model.get("single_keys")) return;
    if (key === "Escape") {
      const now = performance.now();
      send(now - lastEscape < ESCAPES_MS ? "stop" : "escape");
      lastEscape = now;
      return;
    }
    if (event.target.closest?.(TYPING) || event.target.closest?.(".trtlab-graph")) return;
    const simple = { b: "build", s: "sweep", p: "pin", "?": "help", c: "copy-python" };
    let known = true;
    if (/^[1-9]$/.test(key) && tabs()[key - 1]) {
      tabs()[key - 1].focus();
      tabs()[key - 1].click();
    } else if (simple[key.toLowerCase()]) send(simple[key.toLowerCase()]);
    else if (key === "/") focusIn(".trtlab-panel [data-filter],.trtlab-panel input[type=search]");
    else if (key.toLowerCase() === "t") {
      const card = event.target.closest?.(".trtlab-card") ?? screen;
      const twin = card.querySelector("details.trtlab-twin");
      if (twin) twin.open = !twin.open;
    } else known = false;
    if (known) {
      event.preventDefault();
      event.stopPropagation();  // the notebook has commands on the same keys
    }
  });

  // What is drawn again keeps its focus, roles and labels; what went or is off hands its focus to
  // the panel: keys are heard only inside.
  const panel = screen.querySelector(".trtlab-panel");
  if (panel) panel.tabIndex = -1;
  let focused = null;
  on(screen, "focusin", (event) => { focused = event.target; });
  on(screen, "focusout", (event) => { if (event.relatedTarget) focused = null; });
  const refocus = () => {
    if (!focused || (focused.isConnected && !focused.disabled)) return;
    const now = document.activeElement;
    if (now && now !== document.body && now !== focused) {
      focused = null;  // it went elsewhere meanwhile
      return;
    }
    const key = keyOf(focused);
    const same = key ? screen.querySelector(key) : null;
    (same && !same.disabled ? same : panel)?.focus({ preventScroll: true });
  };
  const name = (node) => {
    for (const handle of node.querySelectorAll(".noUi-handle:not([aria-label])")) {
      const place = handle.closest("[data-name],.widget-inline-hbox,.jupyter-widgets");
      const said = handle.closest(".trtlab-slider")?.dataset.name ?? place?.title ?? "";
      handle.setAttribute("aria-label", said || "Workspace limit");
    }
    for (const box of node.querySelectorAll("input:not([aria-label]),select:not([aria-label])")) {
      const said = box.title || box.closest("[title]")?.title || box.placeholder;
      const labelled = [...(box.labels ?? [])].some((label) => label.textContent.trim());
      if (said && !labelled) box.setAttribute("aria-label", said);
    }
    for (const wide of node.querySelectorAll(".trtlab-scroll:not([tabindex])")) {
      wide.tabIndex = 0;
      wide.setAttribute("role", "region");
      wide.setAttribute("aria-label", wide.closest("section")?.querySelector("h3")?.textContent ?? "table");
    }
    for (const toggle of node.querySelectorAll(".widget-toggle-button")) {
      const pressed = String(toggle.classList.contains("mod-active"));
      if (toggle.getAttribute("aria-pressed") !== pressed) toggle.setAttribute("aria-pressed", pressed);
    }
  };
  // A table that was drawn again is searched again, and its selected row is brought into view.
  let selected = null;
  const follow = () => {
    for (const field of screen.querySelectorAll("[data-filter]")) if (field.value) filterRows(field);
    // The point that runs stays in view in its list; the panel itself is not moved.
    const running = screen.querySelector(".trtlab-job .trtlab-points tr[aria-selected=true]");
    const list = running?.closest(".trtlab-points");
    if (list && !list.dataset.followed) {
      list.dataset.followed = "1";
      list.scrollTop = running.offsetTop - list.clientHeight / 2;
    }
    const tab = screen.querySelector("[role=tab][aria-selected=true]");
    const bar = tab?.closest("[role=tablist]");
    if (bar && !bar.dataset.followed) {
      bar.dataset.followed = "1";
      const past = tab.getBoundingClientRect().right - bar.getBoundingClientRect().right;
      if (past > 0) bar.scrollLeft = past + 6;
    }
    const row = screen.querySelector("[data-rows] tr[aria-selected=true]");
    const now = row?.dataset.value ?? null;
    if (now !== selected && row?.offsetParent) {
      selected = now;
      row.scrollIntoView({ block: "nearest" });
    }
  };
  let told = null;
  const parts = new MutationObserver((changes) => {
    name(screen);
    const problem = screen.querySelector(".trtlab-problem h3")?.textContent ?? null;
    // A new error, another tab, the list of keys: what is new stands at the top.
    const tab = screen.querySelector("[role=tab][aria-selected=true]")?.dataset.value ?? "";
    const now = `${problem ?? ""}|${tab}|${Boolean(screen.querySelector("[data-key=keys]"))}`;
    if (now !== told) screen.querySelector(".trtlab-panel")?.scrollTo(0, 0);
    told = now;
    if (changes.some((change) => change.type === "childList")) follow();
    refocus();
  });
  const changed = { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "disabled"] };
  parts.observe(screen, changed);
  name(screen);

  // A clock that runs where a job runs: seconds since its part was drawn, and those before.
  const clock = setInterval(() => {
    for (const one of screen.querySelectorAll("[data-elapsed]")) {
      one.trtlabDrawn ??= performance.now();
      const s = Number(one.dataset.elapsed) + (performance.now() - one.trtlabDrawn) / 1000;
      const hint = one.parentElement.querySelector("[data-expected]");
      if (hint && s > Number(hint.dataset.expected)) hint.textContent = "longer than expected";
      one.textContent = s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
    }
  }, TICK_MS);
  // The header's load is asked for only while somebody can see it.
  const look = setInterval(() => {
    if (!document.hidden && screen.offsetParent !== null) send("look");
  }, LOOK_MS);

  // A picture of the first figure that is seen, for a notebook that is opened without a kernel.
  let pictured;
  const picture = async () => {
    const plots = [...screen.querySelectorAll('.trtlab-plotly[data-ready="1"]')];
    const seen = plots.find((plot) => plot.offsetParent !== null);
    const Plotly = globalThis.__trtlabPlotly?.library?.Plotly;
    if (!seen || !Plotly) return;
    const size = { format: "png", width: seen.clientWidth, height: seen.clientHeight };
    send("picture", await Plotly.toImage(seen, size));
  };
  const hear = (message) => {
    if (message?.kind === "copy") copy(message.text);
    if (message?.kind !== "picture") return;
    clearTimeout(pictured);
    pictured = setTimeout(() => picture().catch(() => {}), PICTURE_MS);
  };
  model.on("msg:custom", hear);
  // anywidget hands on no comm_live; ipywidgets marks what it drew when the kernel is gone.
  const lost = () => {
    const alive = !el.closest(".jupyter-widgets-disconnected");
    screen.classList.toggle("trtlab-lost", !alive);
    for (const one of screen.querySelectorAll("button,input,select")) {
      if (!alive) one.disabled = true;
    }
  };
  model.on("comm_live_update", lost);
  lost();

  // The plain picture below the screen is for those who see no screen.
  const hide = document.createElement("style");
  hide.textContent = `.${model.get("still") || "trtlab-no-still"}{display:none}`;
  el.append(hide);
  screen.dataset.ready = "1";
  tellTheme();
  send("ready");
  return () => {
    stop.abort();
    themes.disconnect();
    parts.disconnect();
    clearInterval(clock);
    clearInterval(look);
    clearTimeout(pictured);
    model.off("comm_live_update", lost);
    model.off("msg:custom", hear);
  };
}

export default { render };
