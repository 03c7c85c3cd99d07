/** The question on the screen as curl and as Python, and its answer as JSON. */

import { byId } from "./dom.js";
import { address, hasToken } from "./server.js";

/**
 * Shows the listing of the language that is chosen.
 *
 * @param {?{question: object, name: string, record: object, bundle: string}} asked null if there is no answer
 */
export function showListing(asked) {
  const language = new FormData(byId("code-form")).get("language");
  if (asked) byId("listing").textContent = { curl, http, embedded, json }[language](asked);
}

function curl({ question, name }) {
  const fields = Object.entries(question).flatMap(([key, value]) => (
    key === "labels" ? value.map((label) => [key, label]) : [[key, String(value)]]
  ));
  const lines = [
    `curl -s ${shell(address("v1/ask"))}`,
    ...(hasToken() ? ['-H "Authorization: Bearer $F2EDGE_TOKEN"'] : []),
    `-F ${shell(`image=@${quotedForCurl(name)}`)}`,
    ...fields.map(([key, value]) => `--form-string ${shell(`${key}=${value}`)}`),
  ];
  return lines.join(" \\\n  ");
}

/** Quotes for sh, unless nothing in the text means anything to it. */
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Quotes the name of a file for -F, where commas and semicolons end it. */
const quotedForCurl = (name) => (/[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);

function http({ question, name }) {
  const fields = Object.entries(question).map(([key, value]) => `    ${python(key)}: ${python(value)},\n`);
  const bearer = hasToken() ? ', "Authorization": f"Bearer {os.environ[\'F2EDGE_TOKEN\']}"' : "";
  return `import base64, json${hasToken() ? ", os" : ""}, pathlib, urllib.request

question = {
    "image": base64.b64encode(pathlib.Path(${python(name)}).read_bytes()).decode(),
${fields.join("")}}
request = urllib.request.Request(
    ${python(address("v1/ask"))},
    json.dumps(question).encode(),
    {"Content-Type": "application/json"${bearer}},
)
answer = json.load(urllib.request.urlopen(request))
print(answer["result"])
`;
}

function embedded({ question, name, bundle }) {
  const { task, ...options } = question;
  const given = Object.entries(options).map(([key, value]) => `, ${key}=${python(value)}`);
  return `import f2edge

with f2edge.load(${python(bundle)}) as model:
    result = model.run(${python(name)}, ${python(task)}${given.join("")})
print(result.answer)
`;
}

function json({ record }) {
  return pretty(record, "");
}

/** Writes JSON with one line for each field, and for each list within a list. */
function pretty(value, indent) {
  const inner = `${indent}  `;
  const all = (items, [open, close]) => (
    items.length ? `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}` : open + close
  );
  if (Array.isArray(value) && value.some(Array.isArray)) return all(value.map((item) => pretty(item, inner)), "[]");
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return all(Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${pretty(item, inner)}`), "{}");
}

/** Writes a value as Python. */
function python(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  return JSON.stringify(value);
}

/** Puts the listing on the clipboard, and says so. */
export async function copyListing() {
  await copy(byId("listing"));
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy"), 2000);
}

/** Only https and localhost have the clipboard; elsewhere the text is selected first. */
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error("This browser does not let pages copy; the text is selected.");
}
