/** The answer in words: its text, its objects, how long it took. */

import { byId, make, show, tell } from "./dom.js";
import { nameOf, percent } from "./marks.js";

const STAGES = [
  ["preprocess", "Picture"],
  ["vision", "Vision"],
  ["encoder", "Prompt"],
  ["decode", "Answer"],
  ["postprocess", "Parsing"],
];

/** Empties the answer before another question. */
export function clearAnswer() {
  show(false, "objects", "remark", "times", "code");
  byId("objects").replaceChildren();
  byId("words").textContent = "";
}

/** Adds a piece of text as it is decided. */
export function addWords(piece) {
  byId("words").append(piece);
}

/** Lists the marks that are not in the list yet; all of them again if `anew`. */
export function listMarks(marks, anew = false) {
  const list = byId("objects");
  if (anew) list.replaceChildren();
  list.hidden = !marks.length;
  for (let k = list.children.length; k < marks.length; k++) list.append(rowOf(marks[k], k));
}

function rowOf(mark, index) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.setProperty("--colour", mark.colour);
  const meter = make("span", { className: "meter" }, make("span"));
  meter.firstChild.style.setProperty("--share", mark.confidence ?? 0);
  const sure = make("span", { className: "percent" }, percent(mark.confidence));
  const label = make("span", { className: "label" }, nameOf(mark, index));
  const button = make("button", { type: "button", className: "object" }, swatch, label, meter, sure);
  button.dataset.index = index;
  button.setAttribute("aria-pressed", "false");
  return make("li", {}, button);
}

/**
 * Shows a whole answer of /v1/ask: its text, objects, remarks and times.
 *
 * @param {object} record
 * @param {Array} marks its objects
 * @param {boolean} kept whether the picture had been encoded before
 */
export function showRecord(record, marks, kept) {
  byId("words").textContent = plainText(record);
  listMarks(marks, true);
  tell("remark", remarksOf(record, marks).join(" "));
  showTimes(record.timings_ms, kept ? ["preprocess", "vision"] : []);
  show(true, "code");
}

/** Returns the answer of a task in text; empty for a task that locates something. */
function plainText(record) {
  const answer = record.result?.[record.task];
  return typeof answer === "string" ? answer.trim() : "";
}

/** Returns the answer in one line: how many objects, or that there is a text. */
export function summaryOf(record, marks) {
  if (marks.length) return countOf(marks);
  if (plainText(record)) return "Done";
  return typeof record.result?.[record.task] === "string" ? "Empty answer" : "Nothing found";
}

/** Returns the number of marks with their noun. */
export function countOf(marks) {
  const [one, many] = NOUNS[marks[0].kind];
  return `${marks.length} ${marks.length === 1 ? one : many}`;
}

const NOUNS = { box: ["object", "objects"], quad: ["line of text", "lines of text"], mask: ["mask", "masks"] };

function remarksOf(record, marks) {
  const sure = record.calibrated
    ? "The percentage is the probability that an object is right."
    : "The percentage is the model's own score; the bundle is not calibrated for this task.";
  const cut = record.truncated && "The answer was cut off at its longest allowed length.";
  return [cut, marks.length && sure].filter(Boolean);
}

/** Shows the time of each stage; `kept` names those whose result was there from an earlier question. */
function showTimes(timings, kept) {
  const parts = STAGES.filter(([stage]) => timings?.[stage] !== undefined);
  const spent = parts.filter(([stage]) => !kept.includes(stage));
  byId("bar").replaceChildren(...spent.map(([stage]) => pieceOf(stage, timings[stage])));
  byId("stages").replaceChildren(...parts.map(([stage, name]) => {
    const time = kept.includes(stage) ? "kept" : milliseconds(timings[stage]);
    return make("div", { className: stage }, make("dt", {}, name), make("dd", {}, time));
  }));
  show(parts.length, "times");
}

function pieceOf(stage, time) {
  const piece = make("span", { className: stage });
  piece.style.setProperty("flex-grow", Math.max(time, 0.01));
  return piece;
}

/** Returns a time in milliseconds as people read it. */
export function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`;
  return `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;
}
