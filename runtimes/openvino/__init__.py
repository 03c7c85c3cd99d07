"""Run a bundle with OpenVINO: CPUs, Intel GPUs and NPUs."""
