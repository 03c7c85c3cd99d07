/** Marks and rows that stand out: under the pointer, with the focus, or for good after a click. */

import { byId } from "./dom.js";
import { pickMark } from "./overlay.js";

let pinned = null; // the index of the mark that stays picked

/**
 * Lets marks on the picture and rows of the list stand out.
 *
 * @param {(index: number) => void} chosen called with the index of a mark that was clicked
 */
export function listenForPicks(chosen) {
  for (const element of [byId("overlay"), byId("objects")]) {
    // not pointerover: that also comes when the list scrolls under a pointer at rest, and the keyboard makes it scroll
    for (const type of ["pointermove", "focusin"]) element.addEventListener(type, (event) => pick(indexOf(event)));
    for (const type of ["pointerleave", "focusout"]) element.addEventListener(type, () => pick(null));
    element.addEventListener("click", (event) => pin(indexOf(event), chosen));
  }
}

/** Lets no mark stand out: there is another answer. */
export function forgetPick() {
  pinned = null;
}

function indexOf(event) {
  const element = event.target.closest("[data-index]");
  return element ? Number(element.dataset.index) : null;
}

/** Lets a mark stand out; without one, that of the row with the focus, or the one that was clicked. */
function pick(index) {
  const focused = byId("objects").querySelector("button:focus-visible")?.dataset.index;
  const picked = index ?? (focused === undefined ? pinned : Number(focused));
  pickMark(picked);
  for (const row of rows()) row.classList.toggle("picked", Number(row.dataset.index) === picked);
}

function pin(index, chosen) {
  pinned = index === pinned ? null : index;
  for (const row of rows()) row.setAttribute("aria-pressed", Number(row.dataset.index) === pinned);
  pick(null);
  if (pinned !== null) chosen(pinned);
}

const rows = () => byId("objects").querySelectorAll("button");
