/** Requests to the server that this page came from. */

import { readEvents } from "./events.js";

const TOKEN = "f2edge-token";
let token = sessionStorage.getItem(TOKEN);

/** What the server refused, in one line. */
class ServerError extends Error {
  /**
   * @param {string} message one line
   * @param {number} status the HTTP status; 0 if there was no answer
   * @param {string} code the server's name of the error
   */
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Keeps a token for the requests of this tab. */
export function keepToken(text) {
  token = text;
  sessionStorage.setItem(TOKEN, text);
}

/** Tells whether requests carry a token. */
export const hasToken = () => Boolean(token);

/** Returns the absolute address of a path of the server. */
export const address = (path) => new URL(path, document.baseURI).href;

/** Reads JSON with GET. */
export async function readJson(path) {
  return (await request(path)).json();
}

/**
 * Asks a question and yields the events of its answer; the last one is "answer".
 *
 * @param {object} question the fields of /v1/stream without the picture
 * @param {{file: Blob, name: string, id: ?string}} picture its id is sent in its place, if that is enough
 * @param {AbortSignal} signal
 */
export async function* ask(question, picture, signal) {
  const kept = isKept(question, picture);
  const body = kept ? JSON.stringify({ ...question, image_id: picture.id }) : formOf(question, picture);
  const headers = kept ? { "Content-Type": "application/json" } : {};
  const response = await request("v1/stream", { method: "POST", body, headers, signal });
  let last = "";
  for await (const { event, data } of readEvents(response.body)) {
    if (event === "error") throw errorOf(data, response);
    last = event;
    yield { event, data };
  }
  if (last !== "answer") throw new ServerError("The connection ended before the answer was complete; ask again.");
}

/** Tells whether a question needs only what the server kept of the picture; tiles are cut out of the file itself. */
export const isKept = (question, picture) => Boolean(picture.id) && !question.tile;

async function request(path, options = {}) {
  const bearer = token ? { Authorization: `Bearer ${token}` } : {};
  const headers = { ...options.headers, ...bearer };
  const response = await fetch(address(path), { ...options, headers }).catch(unreachable);
  if (response.ok) return response;
  throw errorOf(await response.json().catch(() => ({})), response);
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new ServerError("The server cannot be reached; is it still running?");
}

function errorOf(data, response) {
  const { message = `The server answered with status ${response.status}.`, code } = data.error ?? {};
  const wait = response.headers.get("Retry-After");
  return new ServerError(wait ? `${message} (try again in ${wait} s)` : message, response.status, code);
}

function formOf(question, picture) {
  const form = new FormData();
  form.append("image", picture.file, picture.name);
  for (const [name, value] of Object.entries(question)) {
    if (name === "labels") value.forEach((label) => form.append(name, label));
    else form.append(name, String(value)); // an array of numbers becomes "x1,y1,x2,y2"
  }
  return form;
}
