"""Florence-2 on the device in front of you."""
