/** The tasks in words, grouped by what one wants to do. */

import { make } from "./dom.js";

const GROUPS = [
  ["Find", [
    "od", "dense_region_caption", "region_proposal", "open_vocabulary_detection", "caption_to_phrase_grounding",
  ]],
  ["Outline", ["referring_expression_segmentation", "region_to_segmentation"]],
  ["Read", ["ocr", "ocr_with_region", "region_to_ocr"]],
  ["Describe", ["caption", "detailed_caption", "more_detailed_caption"]],
  ["About a region", ["region_to_category", "region_to_description"]],
];

const WORDS = {
  od: ["Objects", "A box and a name for each object."],
  dense_region_caption: ["Objects with descriptions", "A box and a few words for each object."],
  region_proposal: ["Objects without names", "Boxes around whatever stands out."],
  open_vocabulary_detection: ["What you name", "Boxes around what the text names.", "What to find", "orange star"],
  caption_to_phrase_grounding: [
    "Phrases of a caption", "A box for each phrase of the text.", "Caption", "an orange star and a cyan cross",
  ],
  referring_expression_segmentation: [
    "Mask of what you name", "The outline of the one thing that the text names.", "What to outline", "the orange star",
  ],
  region_to_segmentation: ["Mask in a region", "The outline of what is in the region."],
  ocr: ["Text", "All text of the picture."],
  ocr_with_region: ["Lines of text with places", "Each line of text, and where it stands."],
  region_to_ocr: ["Text in a region", "What is written in the region."],
  caption: ["Caption", "One sentence about the picture."],
  detailed_caption: ["Detailed caption", "A longer sentence about the picture."],
  more_detailed_caption: ["Paragraph", "A paragraph about the picture."],
  region_to_category: ["Name of a region", "What kind of thing is in the region."],
  region_to_description: ["Description of a region", "A description of what is in the region."],
};

const FREE = ["Free prompt", "The text is the prompt, for models that were tuned on prompts of their own.", "Prompt"];

/** Returns a task of /v1/tasks with its words: its fields there, and title, hint, ask, example. */
export function worded(task) {
  const [title, hint, ask = "Text", example = ""] = task.task ? (WORDS[task.task] ?? [task.task, ""]) : FREE;
  return { ...task, title, hint, ask, example };
}

/** Fills the list of tasks; what no group has comes last. */
export function fillTasks(select, tasks) {
  const known = GROUPS.flatMap(([, names]) => names);
  const others = tasks.map((task) => task.task).filter((name) => !known.includes(name));
  select.replaceChildren(...[...GROUPS, ["Other", others]].map(([title, names]) => groupOf(title, names, tasks)));
}

function groupOf(title, names, tasks) {
  const listed = names.map((name) => tasks.find((task) => task.task === name)).filter(Boolean);
  const options = listed.map((task) => make("option", { value: task.task }, worded(task).title));
  return make("optgroup", { label: title, hidden: !options.length }, ...options);
}
