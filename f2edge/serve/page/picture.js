/** Ways to hand in a picture: a file, the clipboard, drag and drop, a camera. */

import { byId } from "./dom.js";

/**
 * Calls back with every file that someone hands in, and with null if something else was dropped.
 *
 * @param {(file: ?File) => void} taken
 */
export function listenForPictures(taken) {
  for (const id of ["choose", "shoot", "choose-other", "shoot-other"]) byId(id).addEventListener("change", fromInput);
  document.addEventListener("paste", fromClipboard);
  document.addEventListener("dragover", (event) => mark(event, true));
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(event, false));
  document.addEventListener("drop", fromDrop);

  function fromInput(event) {
    const [file] = event.target.files;
    event.target.value = ""; // the same file may be chosen again
    if (file) taken(file);
  }

  function fromClipboard(event) {
    const [file] = event.clipboardData.files;
    if (!file) return; // a text for a field
    event.preventDefault();
    taken(file);
  }

  function fromDrop(event) {
    mark(event, false);
    taken(event.dataTransfer.files[0] ?? null);
  }
}

function mark(event, over) {
  event.preventDefault(); // else the browser opens the file in place of this page
  byId("drop").classList.toggle("over", over);
}

/**
 * Shows a picture file, and returns it with its size in pixels; null for the size if the browser cannot show it.
 *
 * @param {File} file
 * @returns {Promise<{file: File, name: string, id: null, size: ?[number, number]}>}
 */
export async function showPicture(file) {
  const image = byId("picture");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  const size = await image.decode().then(() => [image.naturalWidth, image.naturalHeight], () => null);
  image.hidden = !size;
  byId("unshown").hidden = Boolean(size);
  return { file, name: file.name || "picture.png", id: null, size };
}

/** Gives the frame the shape of the picture. */
export function shapeFrame([width, height]) {
  byId("frame").style.setProperty("--width", width);
  byId("frame").style.setProperty("--height", height);
}
