"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("rows");
  const form = document.getElementById("filters");
  const bodyRows = [...table.tBodies[0].rows];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  let plots = [];

  // Hues far apart, and dashes once they repeat, so that lines can be told without colour.
  const colour = (index) => {
    const light = dark.matches ? 66 : 42;
    return `hsl(${(215 + index * 137.5) % 360} 70% ${light}%)`;
  };
  const series = (index, name) => ({
    label: name, stroke: colour(index), width: 2, points: { show: false },
    dash: index > 5 ? [6, 3 + (index % 4) * 2] : undefined, spanGaps: true,
  });
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function axis(label, values) {
    return {
      label, stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") },
      labelSize: 22, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", values,
    };
  }

  function draw(id, lines, x, options) {
    const place = document.getElementById(id);
    const shown = lines.map((line, index) => ({ line, index })).filter((one) => !hidden.has(one.line.row));
    if (!place) return;
    place.hidden = shown.length === 0;
    if (place.hidden) return;
    const box = place.querySelector(".plot");
    const [xs, ...ys] = uPlot.join(shown.map((one) => x(one.line)));
    const width = Math.max(280, box.clientWidth || place.clientWidth);
    plots.push(new uPlot({
      width, height: Math.min(340, Math.round(width * 0.7)), ...options(),
      series: [options().first, ...shown.map((one) => series(one.index, one.line.name))],
    }, [xs, ...ys], box));
  }

  function drawAll() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const share = (_, ticks) => ticks.map((tick) => `${tick} %`);
    const time = (_, ticks) => ticks.map((tick) => (tick >= 1000 ? `${tick / 1000} s` : tick == null ? "" : `${tick} ms`));
    const times = data.quantiles.filter((line) => !hidden.has(line.row)).flatMap((line) => line.ms);
    const log = Math.max(...times) > 20 * Math.min(...times);
    draw("quantiles", data.quantiles, (line) => [line.ms.map((_, index) => index * 2.5), line.ms], () => ({
      first: { label: "share", value: (_, value) => (value == null ? "" : `${value} %`) },
      scales: { x: { time: false }, y: log ? { distr: 3 } : { range: (_, low, high) => [0, high * 1.05] } },
      axes: [axis("share of answers", share), { ...axis("time of an answer", time), size: 64 }],
    }));
    draw("curves", data.curves, (line) => [line.seconds, line.ms], () => ({
      first: { label: "time", value: (_, value) => (value == null ? "" : `${value.toFixed(1)} s`) },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, high * 1.1] } },
      axes: [axis("seconds since the start"), { ...axis("time of an answer", time), size: 64 }],
    }));
  }

  function choose() {
    const wanted = [...form.querySelectorAll("select")].map((select) => [select.dataset.filter, select.value]);
    const only = document.getElementById("hide-doubtful");
    hidden.clear();
    for (const row of bodyRows) {
      const fits = wanted.every(([name, value]) => !value || row.dataset[name] === value);
      if (!fits || (only && only.checked && row.classList.contains("doubtful"))) hidden.add(Number(row.dataset.row));
    }
    for (const part of document.querySelectorAll("[data-row]")) part.hidden = hidden.has(Number(part.dataset.row));
    document.getElementById("shown").textContent = hidden.size ? `${bodyRows.length - hidden.size} of ${bodyRows.length}` : "";
    drawAll();
  }

  function sortBy(head, index) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const number = head.classList.contains("number");
    const value = (row) => row.cells[index].dataset.value;
    bodyRows.sort((one, two) => {
      const [a, b] = [value(one), value(two)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return (number ? a - b : a.localeCompare(b)) * (up ? 1 : -1);
    });
    table.tBodies[0].append(...bodyRows);
  }

  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(head, index));
    head.replaceChildren(button);
  });

  if (form) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", choose);
  }

  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }

  function open() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  }
  addEventListener("hashchange", open);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  dark.addEventListener("change", drawAll);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 150); });
  open();
  drawAll();
})();
