"""Frames of videos, cameras, streams and folders of pictures; :mod:`f2edge.video.frames` is the way in."""
