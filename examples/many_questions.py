"""Ask many questions about one picture: the vision tower, the most expensive part, runs only once.

python examples/many_questions.py florence-2-base.cpu street.jpg
"""

import sys

import f2edge

bundle, picture = sys.argv[1:]
image = f2edge.load(bundle).encode(picture)
caption = image.run("caption")
questions = [
    ("od", None, None),
    ("caption_to_phrase_grounding", caption.plain_text or "a car", None),
    ("region_to_category", None, (0, 0, *image.size)),
    ("ocr_with_region", None, None),
]
for result in [caption, *(image.run(task, text, region=region) for task, text, region in questions)]:
    print(f"{result.timings_ms['total']:.0f} ms: {result}")
