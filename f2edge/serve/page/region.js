/** The region of a question, drawn on the picture with a pointer. */

import { byId, draw } from "./dom.js";
import { readRegion, wantsRegion, writeRegion } from "./question.js";

const LEAST = 4; // pixels of the screen; a shorter way is a click

/**
 * Lets a pointer draw the region, and shows it.
 *
 * @param {() => ?[number, number]} pictureSize
 */
export function listenForRegion(pictureSize) {
  const overlay = byId("overlay");
  let start = null;
  overlay.addEventListener("pointerdown", (event) => {
    if (!wantsRegion() || !pictureSize() || event.button) return;
    start = event;
  });
  overlay.addEventListener("pointermove", (event) => {
    if (!start || !far(start, event)) return;
    overlay.setPointerCapture(event.pointerId); // a mere click goes to the mark under it
    write(start, event);
  });
  overlay.addEventListener("pointerup", () => (start = null));
  overlay.addEventListener("pointercancel", () => (start = null));
  for (const id of ["x1", "y1", "x2", "y2"]) byId(id).addEventListener("input", () => showRegion(pictureSize()));

  function write(from, to) {
    const [a, b] = [pixelOf(from, pictureSize()), pixelOf(to, pictureSize())];
    writeRegion([Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])]);
    showRegion(pictureSize());
  }
}

const far = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) >= LEAST;

/** Returns where an event of the pointer is, in pixels of the picture. */
function pixelOf({ clientX, clientY }, [width, height]) {
  const box = byId("overlay").getBoundingClientRect();
  const inside = (value, most) => Math.min(Math.max(0, value), most);
  const x = ((clientX - box.left) / box.width) * width;
  const y = ((clientY - box.top) / box.height) * height;
  return [inside(x, width), inside(y, height)];
}

/** Shows the region of the form over the picture, if the task is about one. */
export function showRegion(size) {
  const frame = byId("frame");
  frame.classList.toggle("drawing", wantsRegion());
  const region = wantsRegion() && size ? readRegion() : null;
  byId("region").replaceChildren(...(region ? rectangles(region, byId("overlay").clientWidth / size[0]) : []));
}

function rectangles([x1, y1, x2, y2], scale) {
  const place = {
    x: x1 * scale, y: y1 * scale, width: Math.max(0, x2 - x1) * scale, height: Math.max(0, y2 - y1) * scale,
  };
  return ["under", "over"].map((name) => draw("rect", { ...place, class: name }));
}
