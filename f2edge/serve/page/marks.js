/**
 * Located objects as marks: {label, confidence, outlines, kind, colour}.
 *
 * An outline is a list of points [x, y] in pixels of the picture, and kind is "box", "quad" or "mask".  The colours are
 * those of `f2edge run --draw`: objects of one label have one colour.
 */

const COLOURS = [
  "#e6194b", "#0a7cff", "#ffb000", "#12a150", "#9b3bdc", "#f5700a",
  "#00a5b5", "#e33fb4", "#7a9a01", "#7c4a2d", "#7fd1ff", "#3d4ed8",
];

/** Returns the marks of objects {label, confidence, box | quad | polygons}, as /v1/stream sends them. */
export function marksOf(objects) {
  const labels = [...new Set(objects.map((object) => object.label))];
  return objects.map((object, index) => {
    const colour = COLOURS[(object.label ? labels.indexOf(object.label) : index) % COLOURS.length];
    return { label: object.label, confidence: object.confidence, ...shapeOf(object), colour };
  });
}

/** Returns the objects of an answer of /v1/ask. */
export function objectsOf({ labels, boxes, quads, polygons, confidences }) {
  const shapes = [
    ...boxes.map((box) => ({ box })),
    ...quads.map((quad) => ({ quad })),
    ...polygons.map((mask) => ({ polygons: mask })),
  ];
  return shapes.map((shape, k) => ({ label: labels[k] ?? "", confidence: confidences[k] ?? null, ...shape }));
}

function shapeOf({ box, quad, polygons }) {
  if (box) {
    const [x1, y1, x2, y2] = box;
    return { kind: "box", outlines: [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]] };
  }
  if (quad) return { kind: "quad", outlines: [pointsOf(quad)] };
  return { kind: "mask", outlines: polygons.map(pointsOf).filter((points) => points.length) };
}

const pointsOf = (flat) => Array.from({ length: flat.length >> 1 }, (_, k) => [flat[2 * k], flat[2 * k + 1]]);

/** Returns [x1, y1, x2, y2], the smallest upright box around a mark. */
export function boundsOf({ outlines }) {
  const xs = outlines.flat().map(([x]) => x);
  const ys = outlines.flat().map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** Returns the area of the box around a mark. */
export function areaOf(mark) {
  const [x1, y1, x2, y2] = boundsOf(mark);
  return (x2 - x1) * (y2 - y1);
}

/** Returns black or white, whichever has more contrast with a colour #rrggbb, as WCAG defines it. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((start) => linear(parseInt(colour.slice(start, start + 2), 16) / 255));
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) ** 2 > 1.05 * 0.05 ? "#000000" : "#ffffff";
}

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

/** Returns a confidence as a percentage; small ones have a decimal. */
export function percent(confidence) {
  if (confidence === null || confidence === undefined) return "";
  if (confidence < 0.0005) return "< 0.1 %";
  return `${(confidence * 100).toFixed(confidence < 0.1 ? 1 : 0)} %`;
}

/** Returns what to call a mark: its label, or its kind and number. */
export function nameOf(mark, index) {
  const kinds = { box: "Box", quad: "Line", mask: "Mask" };
  return mark.label || `${kinds[mark.kind]} ${index + 1}`;
}
