"""Ask one question about one picture, and draw what the answer locates.

python examples/ask.py florence-2-base.cpu street.jpg od boxes.png
"""

import sys

import f2edge

bundle, picture, task, output = sys.argv[1:]
model = f2edge.load(bundle)
result = model.run(picture, task)
print(result)
for label, box, confidence in zip(result.labels, result.boxes, result.confidences, strict=False):
    print(f"{label}: {[round(number) for number in box]}, confidence {confidence:.2f}")
f2edge.draw(picture, result).save(output)
