"use strict";
// Everything is put in as text, so that nothing a run contains can become markup.
const $ = (id) => document.getElementById(id);
const count = (x) => (x == null ? "–" : Math.round(x).toLocaleString("en"));
const share = (x) => (x == null ? "–" : (100 * x).toFixed(1) + " %");
const bytes = (x) => {
  for (const unit of ["B", "kB", "MB", "GB"]) { if (x < 1000) return x.toFixed(unit === "B" ? 0 : 1) + " " + unit; x /= 1000; }
  return x.toFixed(1) + " TB";
};
const span = (s) => {
  if (s == null) return "–";
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  return s < 172800 ? (s / 3600).toFixed(1) + " h" : (s / 86400).toFixed(1) + " d";
};
function make(name, text, kind) {
  const node = document.createElement(name);
  if (text != null) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}
function table(id, heads, rows) {
  const head = make("tr");
  heads.forEach(([title, kind]) => { const th = make("th", title, kind); th.scope = "col"; head.append(th); });
  const body = rows.map((row) => {
    const tr = make("tr");
    row.forEach((cell, i) => tr.append(make("td", cell, heads[i][1])));
    return tr;
  });
  $(id).replaceChildren(...(rows.length ? [head, ...body] : []));
}
function curve(points) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  if (points.length < 2) return svg;
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const low = Math.min(...ys), high = Math.max(...ys), first = xs[0], last = xs[xs.length - 1];
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.map(([x, y]) =>
    (100 * (x - first) / (last - first || 1)).toFixed(2) + "," + (98 - 96 * (y - low) / (high - low || 1)).toFixed(2)).join(" "));
  svg.setAttribute("aria-label", `loss from ${ys[0].toFixed(3)} to ${ys[ys.length - 1].toFixed(3)}`);
  svg.append(line);
  return svg;
}
function phase(name, p, now) {
  const box = make("article");
  box.append(make("h3", name + (p.finished ? ": done" : "")));
  const bar = make("progress");
  bar.max = p.steps || p.step; bar.value = p.step;
  bar.setAttribute("aria-label", name + " progress");
  const list = make("dl");
  const end = p.finished || p.seconds_left == null ? null : new Date(1000 * (p.time + p.seconds_left));
  for (const [title, value] of [
    ["step", count(p.step) + (p.steps ? " of " + count(p.steps) : "")], ["loss", p.loss.toFixed(4)],
    ["tokens/s", count(p.tokens_per_second)], ["waiting for data", share(p.data_wait_share)],
    ["left", p.finished ? "–" : span(p.seconds_left)],
    ["estimated end", end ? end.toISOString().slice(0, 16).replace("T", " ") + " UTC" : "–"],
    ["last step", p.finished ? "–" : span(now - p.time) + " ago"], ["workers", count(p.workers)],
    ["restarts", count(p.restarts)],
    ["checkpoint", p.checkpoint == null ? "–" : "step " + count(p.checkpoint) + (p.finished ? "" : ", " + span(p.checkpoint_age) + " ago")],
  ]) {
    const pair = make("div");
    pair.append(make("dt", title), make("dd", value));
    list.append(pair);
  }
  box.append(bar, list, curve(p.losses));
  return box;
}
function show(s) {
  $("name").textContent = s.name;
  document.title = s.name;
  const phases = Object.entries(s.phases);
  if (phases.length) $("phases").replaceChildren(...phases.map(([name, p]) => phase(name, p, s.time)));
  const f = s.funnel;
  if (f.read.documents) {
    $("judged").textContent = `${count(f.shards)} shards judged: ${count(f.read.documents)} documents (${bytes(f.read.bytes)}) read, ` +
      `${count(f.kept.documents)} kept (${share(f.kept.documents / f.read.documents)}); ` +
      `${count(f.documents_per_second)} documents/s, ${bytes(f.bytes_per_second)}/s now; duplicate index ${share(s.index.fill)} full.`;
    table("reasons", [["stage"], ["reason"], ["documents", "n"], ["share", "n"], ["bytes", "n"]],
      f.dropped.map((d) => [d.stage, d.reason, count(d.documents), share(d.documents / f.read.documents), bytes(d.bytes)]));
    table("speeds", [["stage"], ["processor time", "n"], ["per core", "n"]],
      Object.entries(f.stage_seconds).map(([n, t]) => [n, span(t), t > 0 ? bytes(f.read.bytes / t) + "/s" : "–"]));
  }
  table("last", [["shard:row"], ["stage"], ["reason"], ["language"]], s.rejects.map((r) => [r.place, r.stage, r.reason, r.language]));
}
const events = new EventSource("events");
events.onmessage = (event) => {
  show(JSON.parse(event.data));
  $("link").textContent = "live";
  document.body.dataset.shown = "yes";
};
events.onerror = () => { $("link").textContent = "not connected; trying again"; };
