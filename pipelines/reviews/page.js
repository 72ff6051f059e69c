
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const events = data.events, recordings = data.recordings;
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const MARKS = { accept: "✓", reject: "✗", unsure: "?" };
const WORDS = { accept: "accepted", reject: "rejected", unsure: "unsure" };
const SVG = "http://www.w3.org/2000/svg";
const by = (id) => document.getElementById(id);
const list = by("list");

// Names are shown without the folder that all of them share.
const folders = recordings.map((r) => r.file.split("/").slice(0, -1));
const shared = (folders[0] || []).findIndex((part, i) => folders.some((each) => each[i] !== part));
const numShared = shared < 0 ? (folders[0] || []).length : shared;
for (const r of recordings) r.name = r.file.split("/").slice(numShared).join("/");

// What was decided: event -> verdict, kept by the browser under the model that found the events.
const nameOf = (e) => [recordings[e.file].file, e.onset, e.offset, e.label].join("|");
const place = "surnn-review " + data.model;
let verdicts = {}, isKept = true, isSaved = true;
try {
  verdicts = JSON.parse(localStorage.getItem(place) || "{}");
  localStorage.setItem(place, JSON.stringify(verdicts));
} catch {
  isKept = false;
  say("This browser keeps nothing for this page: download the verdicts before you close it.");
}
const verdictOf = (e) => verdicts[nameOf(e)] || "";

function keep() {
  isSaved = false;
  try { localStorage.setItem(place, JSON.stringify(verdicts)); } catch { isKept = false; }
}

function say(text) {
  by("note").textContent = text;
  by("note").hidden = !text;
}

function element(name, settings = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
}

function drawn(width, ...paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [d, settings] of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    for (const [key, value] of Object.entries(settings)) path.setAttribute(key, value);
    svg.append(path);
  }
  return svg;
}

function clock(seconds, digits = 0) {
  const scale = 10 ** digits, whole = Math.round(Math.abs(seconds) * scale);
  const rest = ((whole % (60 * scale)) / scale).toFixed(digits), minutes = Math.floor(whole / (60 * scale));
  const padded = rest.padStart(digits ? 3 + digits : 2, "0"), sign = seconds < 0 ? "-" : "";
  if (minutes < 60) return `${sign}${minutes}:${padded}`;
  return `${sign}${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${padded}`;
}

// Events: filtered, in order.
let shown = [], current = null;

function fits(e) {
  const verdict = by("by-verdict").value, said = verdictOf(e);
  return (!verdict || (verdict === "none" ? !said : said === verdict))
    && (!by("by-label").value || e.label === by("by-label").value)
    && (!by("by-file").value || String(e.file) === by("by-file").value);
}

const SORTS = {
  given: () => 0,
  high: (a, b) => b.score - a.score,
  low: (a, b) => a.score - b.score,
  time: (a, b) => a.file - b.file || a.onset - b.onset,
};

function refresh() {
  shown = events.filter(fits).sort(SORTS[by("order").value]);
  list.replaceChildren(...shown.map(row));
  by("empty").hidden = shown.length > 0;
  if (!shown.includes(current)) choose(shown[0] || current); else mark();
}

function row(e) {
  const verdict = verdictOf(e);
  const made = element("li", { id: "e" + e.number, role: "option", "aria-selected": "false" },
    element("span", { className: "mark " + verdict, textContent: MARKS[verdict] || "" }),
    element("span", { className: "name", textContent: e.label }),
    element("span", { className: "score", textContent: e.score.toFixed(2) }),
    element("span", { className: "at" },
      element("bdi", { textContent: `${recordings[e.file].name} · ${clock(e.onset, 2)}` })));
  made.setAttribute("aria-label", `${e.label}, score ${e.score.toFixed(2)}, ${recordings[e.file].name} at `
    + `${clock(e.onset, 2)}, ${WORDS[verdict] || "not reviewed"}`);
  made.addEventListener("click", () => { choose(e); list.focus(); });
  return made;
}

function mark() {
  list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const chosen = current && by("e" + current.number);
  if (!chosen) return list.removeAttribute("aria-activedescendant");
  chosen.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", chosen.id);
  chosen.scrollIntoView({ block: "nearest" });
}

function choose(e) {
  if (!e) return;
  current = e;
  mark();
  show();
  if (by("autoplay").checked) play();
}

function step(by_) {
  const at = shown.indexOf(current);
  choose(shown[Math.min(shown.length - 1, Math.max(0, at + by_))]);
}

function decide(verdict) {
  if (!current) return;
  const at = shown.indexOf(current);
  if (verdict) verdicts[nameOf(current)] = verdict; else delete verdicts[nameOf(current)];
  keep();
  count();
  if (!fits(current)) {
    const next = shown[at + 1] || shown[at - 1];
    by("e" + current.number)?.remove();
    shown.splice(at, 1);
    by("empty").hidden = shown.length > 0;
    if (next) choose(next); else show();
    return;
  }
  by("e" + current.number)?.replaceWith(row(current));
  if (verdict && at + 1 < shown.length) step(1);
  else { mark(); show(); }
}

function count() {
  const said = events.map(verdictOf).filter(Boolean);
  const number = (verdict) => said.filter((each) => each === verdict).length;
  by("bar").value = events.length ? said.length / events.length : 0;
  by("count").textContent = `${said.length} of ${events.length} reviewed: ${number("accept")} accepted, `
    + `${number("reject")} rejected, ${number("unsure")} unsure`;
}

// One event.
let audio = null, film = null;

function media(kind, number) {
  return by(`${kind}-${number}`)?.textContent || "";
}

function show() {
  const e = current, r = recordings[e.file], verdict = verdictOf(e);
  by("label").textContent = e.label;
  by("score").textContent = `score ${e.score.toFixed(2)}`;
  by("verdict").textContent = WORDS[verdict] ? `${MARKS[verdict]} ${WORDS[verdict]}` : "";
  by("verdict").className = "pill " + verdict;
  by("where").textContent = `${r.file}, ${clock(e.onset, 2)} to ${clock(e.offset, 2)} (${(e.offset - e.onset).toFixed(2)} s)`;
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
  by("missing").textContent = [r.note, e.note].filter(Boolean).join(" ");
  by("missing").hidden = !by("missing").textContent;
  const inside = (each) => each[1] > e.begin && each[0] < e.end;
  timeline(by("event"), {
    begin: e.begin, end: e.end, picture: media("picture", e.number), frames: e.frames, chosen: e,
    found: r.found.filter(inside), truth: r.truth && r.truth.filter(inside), boxes: true,
  });
  showMedia(e);
  showRecording(r);
}

function showMedia(e) {
  audio?.pause();
  audio = film = null;
  const address = media("clip", e.number);
  by("player").replaceChildren();
  if (address.startsWith("data:audio")) {
    audio = element("audio", { controls: true, src: address, preload: "auto" });
    audio.setAttribute("aria-label", "Clip of the event");
    audio.addEventListener("play", () => requestAnimationFrame(() => followHead(audio, e)));
    by("player").append(audio);
  } else if (address) {
    film = element("img", { src: address, alt: `Film of the event: ${e.label}` });
    by("player").append(film);
  }
}

function followHead(sound, e) {
  const inner = by("event").querySelector(".inner");
  if (sound !== audio || !inner) return;
  let line = inner.querySelector(".head-line");
  if (!line) inner.append(line = element("div", { className: "head-line" }));
  line.style.left = `${100 * Math.min(1, sound.currentTime / (e.end - e.begin))}%`;
  if (!sound.paused) requestAnimationFrame(() => followHead(sound, e));
}

function play() {
  if (film) film.src = film.src;
  if (!audio) return;
  if (!audio.paused) return audio.pause();
  audio.currentTime = 0;
  audio.play().catch(() => {});  // a browser may refuse before the first key; the controls are there
}

// Panels on one time axis.
function timeline(host, t) {
  const length = t.end - t.begin, percent = (at) => 100 * (at - t.begin) / length;
  const names = element("div", { className: "names" }), inner = element("div", { className: "inner" });
  const legend = element("div", { className: "legend" });
  const add = (kind, name, ...inside) => {
    names.append(element("div", { className: "row " + kind, textContent: name }));
    inner.append(element("div", { className: "row " + kind }, ...inside));
    return inner.lastChild;
  };
  if (t.picture) add("top", data.top, element("img", { src: t.picture, alt: `${data.top} of this stretch` }));
  if (t.frames) {
    const f = t.frames, from = percent(f.begin), width = percent(f.begin + f.hop * f.open.length) - from;
    const laid = (svg) => { svg.style.left = `${from}%`; svg.style.width = `${width}%`; return svg; };
    add("switch", "switch", laid(drawn(f.open.length, [bars(f.open), {}])));
    const lines = Object.entries(f.scores).map(([label, values], index) => {
      const colour = COLOURS[index % COLOURS.length], swatch = element("i");
      swatch.style.color = colour;
      legend.append(element("span", {}, swatch, label));
      return [steps(values), { stroke: colour }];
    });
    add("scores", "scores", laid(drawn(f.open.length, ...lines)));
  }
  for (const [kind, name, each] of [["found", "found", t.found], ["true", "true", t.truth]]) {
    if (!each) continue;
    const lane = add(kind, name);
    if (t.boxes) boxes(lane, each, kind, percent, t.chosen); else mini(lane, each, kind, t);
    names.lastChild.style.height = lane.style.height;
  }
  const axis = add("axis", "");
  const [each, marks] = ticks(t.begin, t.end, t.ticks || 6);
  for (const at of marks) {
    const digits = Math.max(0, -Math.floor(Math.log10(each) + 1e-9));
    const tick = element("span", { className: "tick", textContent: clock(at, digits) });
    tick.style.left = `${percent(at)}%`;
    axis.append(tick);
  }
  if (t.chosen) {
    const span = element("div", { className: "span" });
    span.style.left = `${percent(t.chosen.onset)}%`;
    span.style.width = `${100 * (t.chosen.offset - t.chosen.onset) / length}%`;
    inner.append(span);
  }
  host.replaceChildren(names, element("div", { className: "scroll" }, inner), legend);
  return inner;
}

function bars(shares) {
  let d = "";
  for (let from = 0, to = 1; to <= shares.length; to++) {
    if (to < shares.length && shares[to] === shares[from]) continue;
    if (shares[from]) d += `M${from} 1V${1 - shares[from] / 100}H${to}V1Z`;
    from = to;
  }
  return d;
}

const steps = (values) => values.map((v, i) => `${i ? "V" : "M0 "}${0.97 - 0.94 * v / 100}H${i + 1}`).join("");

function statusOf(each, file) {
  return verdicts[[recordings[file].file, each[0], each[1], each[2]].join("|")] || "";
}

function boxes(lane, each, kind, percent, chosen) {
  const ends = [];
  for (const one of each) {
    let level = ends.findIndex((end) => end <= one[0]);
    if (level < 0) level = ends.length;
    ends[level] = one[1];
    const status = kind === "found" ? statusOf(one, chosen.file) : "";
    const isChosen = kind === "found" && one[0] === chosen.onset && one[1] === chosen.offset && one[2] === chosen.label;
    const box = element("div", { className: `box ${kind} ${status} ${isChosen ? "chosen" : ""}`,
      textContent: `${MARKS[status] || ""} ${one[2]}`,
      title: `${one[2]}, ${clock(one[0], 2)} to ${clock(one[1], 2)}` });
    box.style.left = `${percent(one[0])}%`;
    box.style.width = `${percent(one[1]) - percent(one[0])}%`;
    box.style.top = `${0.2 + 1.5 * level}rem`;
    lane.append(box);
  }
  lane.style.height = `${1.7 + 1.5 * Math.max(0, ends.length - 1)}rem`;
}

function mini(lane, each, kind, t) {
  const groups = {};
  for (const one of each) {
    const status = kind === "found" ? statusOf(one, t.file) : "";
    (groups[status] ||= []).push(`M${one[0] - t.begin} .15V.85H${Math.max(one[1] - t.begin, one[0] - t.begin)}V.15Z`);
  }
  lane.append(drawn(t.end - t.begin, ...Object.entries(groups).map(([status, d]) => [d.join(""), { class: status }])));
  lane.classList.add("mini");
  if (kind === "true") lane.classList.add("true");
  else lane.addEventListener("click", (click) => {
    const box = lane.getBoundingClientRect(), at = t.begin + (t.end - t.begin) * (click.clientX - box.left) / box.width;
    const near = (e) => Math.abs((e.onset + e.offset) / 2 - at);
    choose(events.filter((e) => e.file === t.file).sort((a, b) => near(a) - near(b))[0]);
    list.focus();
  });
}

function ticks(begin, end, number) {
  const rough = (end - begin) / number, size = 10 ** Math.floor(Math.log10(rough));
  const nice = rough < 20 ? [1, 2, 5, 10].map((n) => n * size) : [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800];
  const each = nice.find((n) => n >= rough) || nice.at(-1), made = [];
  for (let at = Math.ceil(begin / each - 1e-9) * each; at < end - each * 0.15; at += each) made.push(at);
  return [each, made];
}

// The whole recording.
function showRecording(r) {
  const zoom = 2 ** Number(by("zoom").value);
  by("recording").textContent = `${r.name} (${clock(r.seconds)}), ${r.found.length} found`
    + (r.truth ? `, ${r.truth.length} true` : "") + (r.more ? `; ${r.more} more not drawn` : "");
  const inner = timeline(by("overview"), {
    begin: r.begin, end: Math.max(r.begin + r.seconds, r.begin + 0.01), picture: media("whole", current.file),
    frames: r.frames, chosen: current, found: r.found, truth: r.truth, file: current.file, ticks: 6 * zoom,
  });
  inner.style.width = `${100 * zoom}%`;
  const scroll = inner.parentElement;
  scroll.scrollLeft = (current.onset - r.begin) / r.seconds * inner.offsetWidth - scroll.clientWidth / 2;
}

// Verdicts as a table: pipelines.corpora.EventTable trains on it.
const COLUMNS = ["file", "onset_seconds", "offset_seconds", "label", "score", "verdict"];
const cell = (value) => /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);

function table() {
  const lines = events.map((e) => [recordings[e.file].file, e.onset, e.offset, e.label, e.score, verdictOf(e)]);
  return [COLUMNS, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
}

function rowsOf(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.replace(/^\ufeff/, "").matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.filter((each) => each.length > 1);
}

function load(text) {
  const [titles, ...rows] = rowsOf(text), at = COLUMNS.map((title) => (titles || []).indexOf(title));
  if (at.some((column) => column < 0)) return say(`This is no table of verdicts: it needs ${COLUMNS.join(", ")}.`);
  const known = new Set(events.map(nameOf));
  let number = 0;
  for (const each of rows) {
    const [file, onset, offset, label, , verdict] = at.map((column) => each[column]);
    const name = [file, Number(onset), Number(offset), label].join("|");
    if (known.has(name) && verdict in MARKS) { verdicts[name] = verdict; number++; }
  }
  keep();
  count();
  refresh();
  if (current) show();
  say(`${number} verdicts taken from the table; ${rows.length - number} rows had none, or are of events not shown here.`);
}

by("save").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  element("a", { href: address, download: "verdicts.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  isSaved = true;
  list.focus();
});
by("load").addEventListener("change", async (change) => {
  const [file] = change.target.files;
  if (file) load(await file.text());
  change.target.value = "";
});
addEventListener("beforeunload", (leaving) => { if (!isKept && !isSaved) leaving.preventDefault(); });

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  a: () => decide("accept"), r: () => decide("reject"), u: () => decide("unsure"), Backspace: () => decide(""), " ": play,
};
addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey || press.target.closest("select, input:not([type=checkbox])")) return;
  if (press.key === " " && press.target.closest("button, input, audio")) return;
  const act = KEYS[press.key.length === 1 ? press.key.toLowerCase() : press.key];
  if (act && events.length) { press.preventDefault(); act(); }
});
for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => { decide(button.dataset.verdict); list.focus(); });
}
for (const id of ["by-verdict", "by-label", "by-file", "order"]) by(id).addEventListener("change", refresh);
by("zoom").addEventListener("input", () => showRecording(recordings[current.file]));

for (const label of [...new Set(events.map((e) => e.label))].sort()) by("by-label").append(new Option(label, label));
for (const file of new Set(events.map((e) => e.file))) by("by-file").append(new Option(recordings[file].name, file));
count();
refresh();
by("detail").hidden = !current;
list.focus();
