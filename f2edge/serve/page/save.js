/** Files to keep: the picture with the answer drawn on it, and the answer as JSON. */

import { fontOf, placeCaptions } from "./captions.js";
import { byId, make } from "./dom.js";
import { areaOf, inkOn, nameOf, percent } from "./marks.js";
import { pathOf } from "./overlay.js";

const LEGIBLE = 960; // pixels of the longer side; smaller pictures are enlarged by a whole number

/** Draws the marks on the picture, and saves it as PNG. */
export async function savePicture({ name, size }, marks) {
  const scale = Math.ceil(LEGIBLE / Math.max(...size, 1)); // 1 for all that are large enough
  const [width, height] = size.map((side) => side * scale);
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.drawImage(byId("picture"), 0, 0, width, height);
  const unit = Math.max(2, Math.round(Math.sqrt(width * height) / 280));
  for (const mark of [...marks].sort((a, b) => areaOf(b) - areaOf(a))) stroke(pen, mark, scale, unit);
  const texts = marks.map((mark, k) => `${nameOf(mark, k)} ${percent(mark.confidence)}`.trim());
  for (const caption of placeCaptions(marks, texts, [width, height], scale, unit * 6)) write(pen, caption);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("This browser cannot draw a picture of this size; `f2edge run --draw` can.");
  save(blob, `${stem(name)}-answer.png`);
}

/** Saves an answer of /v1/ask. */
export function saveJson(name, record) {
  save(new Blob([JSON.stringify(record, null, 1)], { type: "application/json" }), `${stem(name)}-answer.json`);
}

const stem = (name) => name.replace(/\.[^.]*$/, "") || "picture";

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads it a little later
}

function stroke(pen, mark, scale, unit) {
  const path = new Path2D(pathOf(mark, scale));
  pen.fillStyle = mark.colour + (mark.kind === "mask" ? "6e" : "18");
  pen.fill(path);
  pen.lineJoin = "round";
  for (const [colour, width] of [[`${inkOn(mark.colour)}96`, unit * 1.5], [mark.colour, unit]]) {
    Object.assign(pen, { strokeStyle: colour, lineWidth: width });
    pen.stroke(path);
  }
}

function write(pen, { text, x, y, width, height, font, pad, colour, ink }) {
  pen.fillStyle = colour;
  pen.fillRect(x, y, width, height);
  Object.assign(pen, { font: fontOf(font), fillStyle: ink });
  pen.fillText(text, x + pad, y + height * 0.71);
}
