/** The page: picture, question and answer, and what happens between them. */

import { addWords, clearAnswer, countOf, listMarks, milliseconds, showRecord, summaryOf } from "./answer.js";
import { copyListing, showListing } from "./code.js";
import { byId, show, tell } from "./dom.js";
import { boundsOf, marksOf, objectsOf } from "./marks.js";
import { render, showMarks } from "./overlay.js";
import { forgetPick, listenForPicks } from "./picks.js";
import { listenForPictures, shapeFrame, showPicture } from "./picture.js";
import {
  chosenTask, clearRegion, fillForm, missingField, readQuestion, showFields, wantsRegion, writeRegion, wrongField,
} from "./question.js";
import { listenForRegion, showRegion } from "./region.js";
import { saveJson, savePicture } from "./save.js";
import { ask, isKept, readJson } from "./server.js";
import { askToken } from "./token.js";

const state = {
  model: {}, // of /v1/model
  picture: null, // {file, name, id, size}
  objects: [], // of the answer on the screen, as they came
  marks: [], // the same as marks
  answered: null, // {question, name, record, bundle} of the answer on the screen
  kept: false, // whether the server had encoded the picture before the question
  stop: null, // the AbortController of the running question
};

async function start() {
  listen();
  await guarded(async () => {
    const [tasks, model] = await authorized(() => Promise.all([readJson("v1/tasks"), readJson("v1/model")]));
    state.model = model;
    fillForm(tasks, model);
    byId("model").textContent = modelInWords(model);
    readyToAsk();
  });
}

const ENGINES = { openvino: "OpenVINO", onnxruntime: "ONNX Runtime", tensorrt: "TensorRT" };

function modelInWords({ name, precision, engine, device }) {
  const precisions = [...new Set(Object.values(precision))].join(", ");
  return `${name} · ${precisions} · ${ENGINES[engine] ?? engine} on ${device}`;
}

function listen() {
  listenForPictures((file) => guarded(() => take(file)));
  listenForRegion(() => state.picture?.size);
  new ResizeObserver(redraw).observe(byId("frame"));
  byId("task").addEventListener("change", () => { showFields(); showRegion(state.picture?.size); });
  byId("question").addEventListener("submit", (event) => { event.preventDefault(); guarded(askOnce); });
  byId("text").addEventListener("keydown", submitOnEnter);
  byId("stop").addEventListener("click", () => state.stop?.abort());
  byId("languages").addEventListener("change", () => showListing(state.answered));
  byId("copy").addEventListener("click", () => guarded(copyListing));
  byId("save-json").addEventListener("click", () => saveJson(state.picture.name, state.answered.record));
  byId("save-picture").addEventListener("click", () => guarded(() => savePicture(state.picture, state.marks)));
  listenForPicks(useAsRegion);
}

/** Runs an action; a failure becomes the one line of the page. */
async function guarded(action) {
  tell("error", "");
  await action().catch((error) => tell("error", error.message.split("\n")[0]));
}

/** Runs an action, and again with a token if the server wants one. */
async function authorized(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (error.status !== 401) throw error;
      if (!(await askToken())) throw new Error("The server answers only with its token; ask again to enter it.");
    }
  }
}

async function take(file) {
  if (!file) throw new Error("What was dropped is not a picture file; save the picture, and drop the file.");
  state.stop?.abort();
  checkLength(file);
  forgetAnswer();
  clearRegion();
  state.picture = await showPicture(file);
  show(false, "empty");
  show(true, "frame", "under");
  sized(state.picture.size ?? [4, 3]);
  byId("status").textContent = "Ready to ask.";
  readyToAsk();
  (missingField() ?? byId("ask")).focus();
}

function checkLength(file) {
  const most = state.model.limits?.body_bytes;
  if (most && file.size > most) {
    const sizes = `${megabytes(file.size)}, the server takes ${megabytes(most)}`;
    throw new Error(`${file.name} has ${sizes}: scale the picture down.`);
  }
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function sized([width, height]) {
  shapeFrame([width, height]);
  byId("picture-name").textContent = state.picture.name;
  byId("picture-size").textContent = state.picture.size ? `${width} × ${height} pixels` : "";
  redraw();
}

function redraw() {
  render();
  showRegion(state.picture?.size);
}

function forgetAnswer() {
  Object.assign(state, { objects: [], marks: [], answered: null });
  forgetPick();
  clearAnswer();
  showMarks([], state.picture?.size ?? [1, 1]);
  byId("save-picture").disabled = byId("save-json").disabled = true;
}

function readyToAsk() {
  byId("ask").disabled = !state.picture || !chosenTask();
}

async function askOnce() {
  if (byId("ask").hidden) return; // Enter in a field asks, too, also while an answer is coming
  checkFields();
  const question = readQuestion();
  await running(question, () => authorized(() => answerAnew(question)));
}

/** Throws an error about the first field that is wrong or missing, and puts the focus there. */
function checkFields() {
  const wrong = wrongField();
  const field = wrong ?? missingField();
  if (!field) return;
  byId("more").open ||= byId("more").contains(field);
  field.focus();
  if (wrong) throw new Error(`${wrong.labels[0].textContent.trim()}: ${wrong.validationMessage}`);
  const fill = `Fill in the field “${chosenTask().ask}” first.`;
  throw new Error(wantsRegion() ? "Draw the region on the picture first." : fill);
}

/** Asks again with the picture itself if the server has dropped what it kept of it. */
async function answerAnew(question) {
  try {
    await answer(question);
  } catch (error) {
    if (error.code !== "image_gone" || !state.picture.id) throw error;
    state.picture.id = null;
    await answer(question);
  }
}

async function answer(question) {
  const { picture, stop } = state;
  state.kept = isKept(question, picture);
  for await (const { event, data } of ask(question, picture, stop.signal)) handlers[event]?.(data, picture, question);
}

const handlers = {
  image: ({ image_id: id, image_size: size }, picture) => {
    Object.assign(picture, { id, size });
    sized(size);
    byId("status").textContent = "Picture encoded, deciding the answer …";
  },
  object: (object, { size }) => {
    state.objects.push(object);
    state.marks = marksOf(state.objects);
    requestAnimationFrame(() => { showMarks(state.marks, size); listMarks(state.marks); });
  },
  text: ({ text }) => addWords(text),
  answer: (record, picture, question) => {
    Object.assign(picture, { id: record.image_id ?? picture.id, size: record.image_size });
    state.marks = marksOf(objectsOf(record));
    state.answered = { question, name: picture.name, record, bundle: state.model.name };
    showMarks(state.marks, picture.size);
    showRecord(record, state.marks, state.kept);
    showListing(state.answered);
    byId("save-picture").disabled = byId("picture").hidden;
    byId("save-json").disabled = false;
  },
};

/** Runs a question with the clock going and the button to stop it. */
async function running(question, action) {
  const began = performance.now();
  const clock = setInterval(() => (byId("clock").textContent = progressSince(began)), 100);
  state.stop = new AbortController();
  busy(true);
  forgetAnswer();
  const sending = "Sending and encoding the picture …";
  byId("status").textContent = state.picture.id ? "Asking about the same picture …" : sending;
  try {
    await action();
    const time = milliseconds(performance.now() - began);
    byId("status").textContent = `${summaryOf(state.answered.record, state.marks)} in ${time}.`;
  } catch (error) {
    byId("status").textContent = error.name === "AbortError" ? "Stopped." : "No answer.";
    if (error.name !== "AbortError") throw error;
  } finally {
    clearInterval(clock);
    byId("clock").textContent = "";
    busy(false);
  }
}

function progressSince(began) {
  const seconds = `${((performance.now() - began) / 1000).toFixed(1)} s`;
  return state.marks.length ? `${countOf(state.marks)}, ${seconds}` : seconds;
}

function busy(now) {
  const focused = document.activeElement === byId(now ? "ask" : "stop") || document.activeElement === document.body;
  show(now, "stop", "progress");
  show(!now, "ask");
  byId("words").setAttribute("aria-busy", now); // read out once it is whole
  byId("answer").style.minHeight = now ? `${byId("answer").offsetHeight}px` : "";
  if (focused) byId(now ? "stop" : "ask").focus();
}

function submitOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!byId("ask").disabled) byId("question").requestSubmit();
}

/** Takes the place of a chosen mark for the region, if the task is about one. */
function useAsRegion(index) {
  if (!wantsRegion() || !state.marks[index]) return;
  writeRegion(boundsOf(state.marks[index]));
  showRegion(state.picture.size);
}

start();
