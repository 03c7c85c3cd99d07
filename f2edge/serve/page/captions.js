/** Where the captions of marks go: close to their objects, on no other caption, and on little of anything else. */

import { boundsOf, inkOn } from "./marks.js";

const HIDDEN = 4; // cost of covering another object; a part of it costs that part
const FAMILY = 'Roboto, "Helvetica Neue", Arial, sans-serif';
const pen = document.createElement("canvas").getContext("2d");

/** Returns the font of captions of a size in pixels, for a canvas. */
export const fontOf = (size) => `600 ${size}px ${FAMILY}`;

/**
 * Places the captions of marks; where there is no room, one is left out.
 *
 * @param {Array} marks
 * @param {string[]} texts the caption of each mark; an empty one is not placed
 * @param {[number, number]} area width and height of what is drawn on, in its own units
 * @param {number} scale units for one pixel of the picture
 * @param {number} font size of the letters in units
 * @returns {Array<{index, text, x, y, width, height, colour, ink}>}
 */
export function placeCaptions(marks, texts, area, scale, font) {
  const around = marks.map((mark) => boundsOf(mark).map((value) => value * scale));
  const sure = [...marks.keys()].sort((a, b) => (marks[b].confidence ?? 0) - (marks[a].confidence ?? 0));
  const placed = [];
  for (const index of sure.filter((k) => texts[k])) {
    const caption = captionOf(texts[index], area[0], font);
    const spot = bestSpot(caption, index, around, area, placed);
    if (spot) placed.push({ ...caption, ...spot, index, colour: marks[index].colour, ink: inkOn(marks[index].colour) });
  }
  return placed;
}

/** Measures a caption, and cuts it at the width of what is drawn on. */
export function captionOf(text, room, font) {
  pen.font = fontOf(font);
  const pad = font * 0.4;
  const most = Math.max(room * 0.6, font * 8) - 2 * pad;
  let short = text;
  while (short !== "…" && pen.measureText(short).width > most) short = `${short.replace(/.…?$/u, "").trimEnd()}…`;
  return { text: short, width: pen.measureText(short).width + 2 * pad, height: font * 1.5, font, pad };
}

function bestSpot(caption, index, around, area, placed) {
  const isFree = (spot) => !placed.some((other) => shared(rect(spot, caption), rect(other, other)));
  const free = spotsOf(caption, around[index], area).filter(isFree);
  const costs = free.map((spot) => spot.cost + HIDDEN * covered(rect(spot, caption), index, around));
  return free[costs.indexOf(Math.min(...costs))];
}

/** Lists spots above, below and inside a box, at its left end, its right end and its middle. */
function spotsOf({ width, height }, [left, top, right, bottom], area) {
  const rows = [[top - height, 0], [bottom, 0.2], [top, 0.3], [bottom - height, 0.4]];
  for (let k = 1; k < 4; k++) rows.push([top - (1 + k) * height, k], [bottom + k * height, k + 0.2]);
  const middle = (left + right - width) / 2;
  const columns = [[left, 0], [right - width, 0.2], [middle, 0.2], [right, 0.6], [left - width, 0.6]];
  const inside = (value, most) => Math.min(Math.max(0, value), Math.max(0, most));
  return rows.flatMap(([y, down]) => columns.map(([x, aside]) => (
    { x: inside(x, area[0] - width), y: inside(y, area[1] - height), cost: down + aside }
  )));
}

const rect = ({ x, y }, { width, height }) => [x, y, x + width, y + height];

/** Returns how much of other objects a place covers; the object of the caption counts a quarter. */
function covered(place, index, around) {
  return around.reduce((sum, box, k) => sum + (shared(place, box) / areaOfBox(box)) * (k === index ? 0.25 : 1), 0);
}

const areaOfBox = ([x1, y1, x2, y2]) => Math.max(1, (x2 - x1) * (y2 - y1));

function shared(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return width > 0 && height > 0 ? width * height : 0;
}
