/** The form of the question: which fields a task has, and what is in them. */

import { byId, show } from "./dom.js";
import { fillTasks, worded } from "./tasks.js";

const CORNERS = ["x1", "y1", "x2", "y2"];
let tasks = [];

/** Puts the tasks of /v1/tasks and the defaults of /v1/model into the form. */
export function fillForm(served, model) {
  tasks = served.map(worded);
  fillTasks(byId("task"), tasks);
  byId("task").value = tasks.some((task) => task.task === "od") ? "od" : tasks[0].task;
  byId("beams").placeholder = model.num_beams ?? "";
  byId("tokens").placeholder = model.max_new_tokens ?? "";
  showFields();
}

/** Returns the chosen task with its words. */
export const chosenTask = () => tasks.find((task) => task.task === byId("task").value);

/** Tells whether a task is answered with places in the picture. */
const locates = (task) => task.answer !== "text";

/** Tells whether the chosen task is about a region. */
export const wantsRegion = () => chosenTask()?.input === "region";

/** Shows the fields that the chosen task has. */
export function showFields() {
  const task = chosenTask();
  show(task.input === "text", "text-field");
  show(task.input === "region", "region-field");
  show(task.takes_labels, "labels-field");
  show(locates(task), "structured-field");
  show(task.takes_tiles, "tile-field");
  byId("task-hint").textContent = task.hint;
  byId("text-label").textContent = task.ask;
  byId("text").placeholder = task.example;
}

/** Returns the region in the fields, or null if one is empty. */
export function readRegion() {
  const values = CORNERS.map((id) => byId(id).valueAsNumber);
  return values.some(Number.isNaN) ? null : values;
}

/** Puts a region into the fields, in whole pixels. */
export function writeRegion(region) {
  CORNERS.forEach((id, index) => (byId(id).value = Math.round(region[index])));
}

/** Empties the fields of the region, which are about one picture. */
export function clearRegion() {
  CORNERS.forEach((id) => (byId(id).value = ""));
}

/** Returns the first field that must be filled and is empty, or null. */
export function missingField() {
  if (wantsRegion()) return CORNERS.map(byId).find((field) => Number.isNaN(field.valueAsNumber)) ?? null;
  const wanted = chosenTask()?.input === "text" && !byId("text").value.trim() && !readLabels().length;
  return wanted ? byId("text") : null;
}

/** Returns the first field that is shown and has a value that is none, such as a word for a number; or null. */
export function wrongField() {
  const fields = [...(wantsRegion() ? CORNERS : []), "tile", "beams", "tokens"].filter(shown).map(byId);
  return fields.find((field) => !field.validity.valid) ?? null;
}

/** Returns the fields of /v1/ask that the form has, without the picture. */
export function readQuestion() {
  const question = { task: byId("task").value };
  if (shown("text") && byId("text").value.trim()) question.text = byId("text").value.trim();
  if (wantsRegion()) question.region = readRegion();
  if (readLabels().length) question.labels = readLabels();
  if (shown("structured") && byId("structured").checked) question.structured = true;
  for (const [name, id] of [["tile", "tile"], ["num_beams", "beams"], ["max_new_tokens", "tokens"]]) {
    if (shown(id) && byId(id).value) question[name] = byId(id).valueAsNumber;
  }
  return question;
}

function readLabels() {
  if (!shown("labels")) return [];
  return byId("labels").value.split(",").map((label) => label.trim()).filter(Boolean);
}

function shown(id) {
  return !byId(`${id}-field`)?.hidden;
}
