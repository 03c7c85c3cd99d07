/** Short ways to find and to make elements. */

const SVG = "http://www.w3.org/2000/svg";

/** Returns the element of an id. */
export const byId = (id) => document.getElementById(id);

/** Makes an HTML element with properties and children; a string is a text, never HTML. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Makes an SVG element with attributes and children. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Shows or hides elements by their ids. */
export function show(shown, ...ids) {
  for (const id of ids) byId(id).hidden = !shown;
}

/** Puts a text into the element of an id, and hides the element without a text. */
export function tell(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}
