/** The marks over the picture, as SVG in pixels of the screen, so that letters and lines keep their size. */

import { captionOf, placeCaptions } from "./captions.js";
import { byId, draw } from "./dom.js";
import { areaOf, boundsOf, inkOn, nameOf, percent } from "./marks.js";

const FONT = 13; // pixels of the screen
let shown = { marks: [], size: [1, 1], picked: null };
let seen = 0; // marks that have appeared already

/** Draws marks of a picture of `size` (width, height); new ones fade in. */
export function showMarks(marks, size) {
  seen = Math.min(seen, marks.length);
  shown = { marks, size, picked: null };
  render();
  seen = marks.length;
}

/** Lets one mark stand out, with its name and confidence; null for none. */
export function pickMark(index) {
  if (shown.picked === index) return;
  shown.picked = index;
  markPicked();
}

function markPicked() {
  for (const group of byId("marks").querySelectorAll(".mark")) {
    group.classList.toggle("picked", Number(group.dataset.index) === shown.picked);
  }
  byId("marks").classList.toggle("picking", shown.picked !== null);
  byId("marks").querySelector(".tip").replaceChildren(...tip());
}

/** Returns units of the screen for one pixel of the picture. */
const scaleOf = (size) => byId("overlay").clientWidth / size[0];

/** Draws again, after the frame has got another size. */
export function render() {
  const { marks, size } = shown;
  const overlay = byId("overlay");
  if (!overlay.clientWidth) return;
  const scale = scaleOf(size);
  overlay.setAttribute("viewBox", `0 0 ${overlay.clientWidth} ${overlay.clientHeight}`);
  const large = [...marks.keys()].sort((a, b) => areaOf(marks[b]) - areaOf(marks[a]));
  const captions = placeCaptions(marks, marks.map((mark) => mark.label), areaShown(), scale, FONT);
  const shapes = large.map((k) => shapeOf(marks[k], k, scale));
  byId("marks").replaceChildren(...shapes, ...captions.map(drawCaption), draw("g", { class: "tip" }));
  markPicked();
  overlay.setAttribute("aria-label", marks.length ? `Marked: ${marks.map(nameOf).join(", ")}` : "Nothing is marked");
}

function areaShown() {
  return [byId("overlay").clientWidth, byId("overlay").clientHeight];
}

function shapeOf(mark, index, scale) {
  const line = pathOf(mark, scale);
  const fade = index >= seen ? "mark new" : "mark";
  return draw(
    "g", { class: `${fade} ${mark.kind}`, "data-index": index },
    draw("path", { class: "halo", d: line, stroke: inkOn(mark.colour) }),
    draw("path", { class: "line", d: line, stroke: mark.colour, fill: mark.colour }),
  );
}

/** Returns the outlines of a mark as the path of an SVG. */
export function pathOf({ outlines }, scale) {
  const line = (points) => points.map(([x, y]) => `${(x * scale).toFixed(1)} ${(y * scale).toFixed(1)}`).join("L");
  return outlines.map((points) => `M${line(points)}Z`).join("");
}

function drawCaption({ text, x, y, width, height, font, pad, colour, ink, index }) {
  const fade = index >= seen ? "caption new" : "caption";
  return draw(
    "g", { class: fade, "data-index": index },
    draw("rect", { x, y, width, height, rx: 3, fill: colour }),
    draw("text", { x: x + pad, y: y + height * 0.71, fill: ink, "font-size": font }, text),
  );
}

/** Returns the caption of the picked mark, over everything else. */
function tip() {
  const { marks, size, picked } = shown;
  if (picked === null || !marks[picked]) return [];
  const mark = marks[picked];
  const [width, height] = areaShown();
  const caption = captionOf(`${nameOf(mark, picked)} ${percent(mark.confidence)}`.trim(), width, FONT + 1);
  const [left, top] = boundsOf(mark).map((value) => value * scaleOf(size));
  const x = Math.max(0, Math.min(left, width - caption.width));
  const y = Math.max(0, Math.min(top - caption.height, height - caption.height));
  return [drawCaption({ ...caption, x, y, colour: mark.colour, ink: inkOn(mark.colour), index: -1 })];
}
