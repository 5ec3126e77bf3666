// Keeps the page of an execution fresh while somebody looks at it, and steps through turns.
"use strict";

(() => {
  const SHORTEST = 2000;
  const LONGEST = 30000;

  let marked = "";
  showMarked();
  document.getElementById("dm-steps")?.addEventListener("keydown", stepByKey);

  const live = document.getElementById("dm-live");
  const state = document.getElementById("dm-live-state");
  if (!live?.dataset.dmLive || !state) return;

  const url = live.dataset.dmLive;
  const toggle = state.querySelector("button");
  const seen = new Map();
  for (const part of partsOf(live)) seen.set(part.dataset.dmPart, part.innerHTML);
  let wait = SHORTEST;
  let timer = 0;
  let paused = false;
  let stopped = false;

  state.hidden = false;
  toggle.addEventListener("click", () => {
    paused = !paused;
    [toggle.textContent, toggle.dataset.dmOther] = [toggle.dataset.dmOther, toggle.textContent];
    state.classList.toggle("dm-off", paused);
    schedule(0);
  });
  document.addEventListener("visibilitychange", () => {
    wait = SHORTEST;
    schedule(0);
  });
  schedule(wait);

  function schedule(delay) {
    window.clearTimeout(timer);
    if (!stopped && !paused && document.visibilityState === "visible") {
      timer = window.setTimeout(poll, delay);
    }
  }

  async function poll() {
    try {
      const response = await fetch(url, { headers: { Accept: "text/html" } });
      if (response.redirected || (response.status >= 400 && response.status < 500)) {
        giveUp();
        return;
      }
      if (response.ok) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.getElementById("dm-live");
        const changed = update(fresh);
        showMarked();
        if (!fresh.dataset.dmLive) {
          stopped = true;
          state.hidden = true;
        }
        wait = changed ? SHORTEST : Math.min(LONGEST, wait * 1.5);
      } else {
        wait = LONGEST;
      }
    } catch {
      wait = LONGEST; // the network or the server is away; it may come back
    }
    schedule(wait);
  }

  function giveUp() {
    stopped = true;
    const text = state.querySelector("[data-dm-live-text]");
    text.textContent = text.dataset.dmStopped;
    state.classList.add("dm-off");
    toggle.hidden = true;
  }

  function partsOf(root) {
    return [...root.querySelectorAll("[data-dm-part]")];
  }

  function update(fresh) {
    const names = partsOf(fresh).map((part) => part.dataset.dmPart).join();
    if (names !== partsOf(live).map((part) => part.dataset.dmPart).join()) {
      seen.clear();
      for (const part of partsOf(fresh)) seen.set(part.dataset.dmPart, part.innerHTML);
      keepingPlace(live, () => live.replaceChildren(...fresh.childNodes));
      return true;
    }
    let changed = false;
    for (const part of partsOf(fresh)) {
      const name = part.dataset.dmPart;
      const mine = live.querySelector(`[data-dm-part="${name}"]`);
      const html = part.innerHTML;
      if (html === seen.get(name) || isSelectedIn(mine)) continue;
      seen.set(name, html);
      keepingPlace(mine, () => mine.replaceChildren(...part.childNodes));
      changed = true;
    }
    return changed;
  }

  function isSelectedIn(element) {
    const selection = document.getSelection();
    return !selection.isCollapsed && selection.containsNode(element, true);
  }

  // The focus, what is open and how far it is scrolled outlive a replacement.
  function keepingPlace(element, replace) {
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const href = focused?.getAttribute("href");
    const places = [...element.querySelectorAll("[tabindex]")];
    const index = places.indexOf(focused);
    const scrolls = places.map((place) => [place.scrollTop, place.scrollLeft]);
    const open = [...element.querySelectorAll("details")].map((details) => details.open);
    const summary = [...element.querySelectorAll("summary")].indexOf(focused);
    replace();
    element.querySelectorAll("details").forEach((details, i) => {
      details.open = open[i] ?? details.open;
    });
    const fresh = [...element.querySelectorAll("[tabindex]")];
    fresh.forEach((place, i) => {
      [place.scrollTop, place.scrollLeft] = scrolls[i] ?? [0, 0];
    });
    if (!focused) return;
    const links = [...element.querySelectorAll("a[href]")];
    const heir =
      (href && links.find((link) => link.getAttribute("href") === href)) ||
      (index >= 0 && fresh[index]) ||
      (summary >= 0 && element.querySelectorAll("summary")[summary]);
    if (heir) heir.focus({ preventScroll: true });
  }

  // The source is scrolled to where it is paused, unless somebody is reading in it.
  function showMarked() {
    const pane = document.getElementById("dm-source-scroll");
    const line = pane?.querySelector(".dm-line-here");
    if (!line || line.dataset.line === marked || pane.matches(":hover, :focus-within")) return;
    marked = line.dataset.line;
    pane.scrollTop = line.offsetTop - pane.clientHeight / 3;
  }

  function stepByKey(event) {
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (!rel || event.target.matches("input")) return;
    document.querySelector(`#dm-steps a[rel=${rel}]`)?.click();
  }
})();
