// Keys, live tail, copying. Every page works without this file: it only makes them quicker to use.
// It builds no markup of recorded text: live tail takes rows out of a page that the server has made and escaped.
"use strict";

// Keys: j k Enter x / n p l ? and a letter per page

const PAGES = { o: "overview", e: "list", s: "stats", c: "compare", m: "misses", u: "unused" };
const rows = () => [...document.querySelectorAll("[data-row]")];
const chosen = () => rows().findIndex((row) => row.classList.contains("chosen"));

function choose(place) {
  const all = rows();
  if (!all.length) return;
  const next = all[Math.max(0, Math.min(all.length - 1, place))];
  all.forEach((row) => row.classList.toggle("chosen", row === next));
  next.scrollIntoView({ block: "nearest" });
  const link = next.querySelector("a[href]");
  if (link) link.focus({ preventScroll: true });
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
}

function help() {
  const dialog = document.getElementById("keys");
  if (!dialog.open) dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) return event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const actions = {
    j: () => choose(chosen() + 1),
    k: () => choose(chosen() - 1),
    x: () => rows()[chosen()]?.querySelector("input[type=checkbox]")?.click(),
    n: () => follow("a[rel=next]"),
    p: () => follow("a[rel=prev]"),
    l: () => follow("[data-live]"),
    "/": () => document.querySelector(".filters input:not([type=hidden])")?.focus(),
    "?": help,
  };
  const action = actions[event.key] ?? (PAGES[event.key] && (() => follow(`[data-tab=${PAGES[event.key]}]`)));
  if (!action) return;
  event.preventDefault();
  action();
});

// Live tail: the same page again, with the entity tag of the last one; rows are replaced where something has changed

const live = document.querySelector('[data-live="on"]');

async function tail() {
  let tag = null;
  let pause = 1000;
  for (;;) {
    await new Promise((done) => setTimeout(done, pause));
    if (document.hidden) continue;
    const started = performance.now();
    try {
      const answer = await fetch(location.href, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag");
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      live.classList.remove("lost");
      pause = Math.max(1000, 10 * (performance.now() - started)); // a slow filter is asked for more rarely
    } catch {
      live.classList.add("lost");
      pause = Math.min(30000, 2 * pause);
    }
  }
}

function replace(page) {
  const body = document.querySelector("#exchanges tbody");
  const fresh = page.querySelector("#exchanges tbody");
  if (!body || !fresh) return;
  const seen = new Set([...body.rows].map((row) => row.dataset.number));
  const checked = new Set([...body.querySelectorAll("input:checked")].map((box) => box.value));
  const place = rows()[chosen()]?.dataset.number;
  const focused = body.contains(document.activeElement);
  for (const row of fresh.rows) {
    if (row.dataset.number && !seen.has(row.dataset.number)) row.classList.add("fresh");
    for (const box of row.querySelectorAll("input[type=checkbox]")) box.checked = checked.has(box.value);
  }
  body.replaceWith(document.adoptNode(fresh));
  const count = document.getElementById("count");
  const text = page.getElementById("count").textContent;
  if (count.textContent !== text) count.textContent = text;
  const again = rows().findIndex((row) => row.dataset.number === place);
  if (again >= 0) {
    rows()[again].classList.add("chosen");
    if (focused) rows()[again].querySelector("a[href]")?.focus({ preventScroll: true });
  }
}

if (live) tail();

// Buttons that copy

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
