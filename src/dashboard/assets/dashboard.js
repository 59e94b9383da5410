// What the pages do beyond what they say: local times, refreshing, a live list, a chart, keys.
"use strict";
(() => {
  const at = (selector, within = document) => within.querySelector(selector);
  const banner = at("#banner");
  const tell = (text) => {
    banner.textContent = text;
    banner.hidden = !text;
  };

  // Times in the viewer's zone, in UTC on hover.
  const pad = (number, length = 2) => String(number).padStart(length, "0");
  const local = (within) => {
    const today = new Date().toDateString();
    for (const time of within.querySelectorAll("time:not([data-done])")) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
      const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
      const iso = date.toISOString();
      time.textContent = date.toDateString() === today ? clock : `${day} ${clock}`;
      time.title = `${iso.slice(0, 10)} ${iso.slice(11, 23)} UTC`;
      time.dataset.done = "";
    }
  };

  // Runs per minute, stacked.
  let chart = null;
  let shown = null;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const draw = () => {
    const place = at("#chart");
    if (!place || !window.uPlot || place === shown) return;
    if (chart) chart.destroy();
    shown = place;
    const minutes = JSON.parse(place.dataset.minutes);
    const of = (state) => minutes.map((minute) => minute[state]);
    const [good, bad, off] = [of("succeeded"), of("failed"), of("cancelled")];
    const sum = (one, other) => one.map((value, index) => value + other[index]);
    const failed = sum(good, bad);
    const bars = uPlot.paths.bars({ size: [0.8, 20] });
    const series = (label, name) => ({ label, fill: colour(name), width: 0, points: { show: false }, paths: bars });
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const clock = (chart, splits) => splits.map((seconds) => {
      const date = new Date(seconds * 1000);
      return `${pad(date.getHours())}:${pad(date.getMinutes())}`;
    });
    const whole = (chart, splits) => splits.map((value) => (Number.isInteger(value) ? value : ""));
    chart = new uPlot({
      width: place.clientWidth,
      height: 180,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (chart, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [{ ...axis, grid: { show: false }, values: clock }, { ...axis, size: 44, values: whole }],
      series: [{}, series("cancelled", "--off"), series("failed", "--bad"), series("succeeded", "--good")],
    }, [minutes.map((minute) => Date.parse(minute.at) / 1000), sum(failed, off), failed, good], place);
  };
  const redraw = () => {
    shown = null;
    draw();
  };
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // What changes is asked for again, while somebody looks.
  let since = 0;
  setInterval(() => {
    const fresh = at("[data-refresh]");
    const part = at("#part");
    if (!fresh || !part || document.hidden) return;
    since += 1;
    if (since >= Number(fresh.dataset.refresh)) {
      since = 0;
      // What is unfolded or being read is not taken away.
      if (at("details[open]", part) || part.contains(document.activeElement)) return;
      htmx.trigger(part, "refresh");
    }
  }, 1000);
  const settled = (within) => {
    local(within);
    draw();
  };
  document.addEventListener("htmx:afterSwap", () => {
    tell("");
    settled(document);
  });
  document.addEventListener("htmx:sendError", () => tell("The server does not answer. This page is tried again."));
  document.addEventListener("htmx:responseError", (event) => tell(`The server answers ${event.detail.xhr.status}. This page is tried again.`));

  // The list: rows that are shown change in place; new ones are only counted, so that nothing jumps.
  const table = at("table[data-live]");
  const live = table ? table.dataset.live : "off";
  if (live !== "off" || at(".empty")) watch(live === "off" ? location.search.slice(1) : live);
  function watch(filter) {
    const rows = at("#rows");
    const news = at("#news");
    const [fresh, changed] = [new Set(), new Set()];
    const MOST = 999;
    let source = null;
    const open = () => {
      source = new EventSource(`/api/v1/events?${filter}`);
      source.addEventListener("open", () => tell(""));
      source.addEventListener("run", (event) => note(JSON.parse(event.data).run_id));
      source.addEventListener("gone", (event) => note(JSON.parse(event.data).run_id));
      source.addEventListener("missed", () => fresh.size < MOST && fresh.add("missed"));
      source.addEventListener("error", () => {
        tell("The server does not answer. The list is live again when it does.");
        if (source.readyState === EventSource.CLOSED) look();
      });
    };
    // It was refused: by a log-out, or because too many look.
    const look = async () => {
      const answer = await fetch("/api/v1/stats").catch(() => null);
      if (answer && answer.status === 401) {
        tell("You are logged out. Reload the page to log in.");
        return;
      }
      setTimeout(open, 5000);
    };
    const note = (id) => {
      if (document.getElementById(`run-${id}`)) changed.add(id);
      else if (rows && fresh.size < MOST) fresh.add(id);
      else if (!rows) fresh.add(id);
    };
    setInterval(() => {
      if (document.hidden) return;
      for (const id of [...changed].slice(0, 20)) {
        changed.delete(id);
        const row = document.getElementById(`run-${id}`);
        if (row) htmx.ajax("GET", `/runs/${id}/row`, { target: row, swap: "outerHTML" });
      }
      if (fresh.size > 0) {
        news.textContent = `${fresh.size >= MOST ? "many" : fresh.size} new – show`;
        news.hidden = false;
      }
    }, 1000);
    window.addEventListener("pagehide", () => source && source.close());
    open();
  }

  // Keys: / to the filter, j and k through the rows.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "/") {
      const first = at("form.filter select, form.filter input");
      if (first) {
        event.preventDefault();
        first.focus();
      }
    } else if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("#rows .when a")];
      const here = links.indexOf(document.activeElement);
      const next = links[here < 0 ? 0 : here + (event.key === "j" ? 1 : -1)];
      if (next) next.focus();
    }
  });

  settled(document);
})();
