"""Print what a camera, a stream or a video shows, once it changes; needs the extra `f2edge[video]`.

python examples/camera.py florence-2-base.cpu rtsp://192.168.0.20/stream od
"""

import sys

import f2edge

bundle, source, task = sys.argv[1:]
model = f2edge.load(bundle)
with f2edge.frames(int(source) if source.isdecimal() else source) as frames:
    for seen in model.run_frames(frames, task, unchanged=8):
        if not seen.reused:
            print(f"{seen.frame.seconds:.1f} s, {seen.frame.dropped} frames dropped: {seen.result}", flush=True)
