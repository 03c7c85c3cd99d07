"""Run a bundle with OpenVINO on CPUs, Intel GPUs and Intel NPUs."""
