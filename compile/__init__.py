"""From a checkpoint to a bundle: the PyTorch reference, the export, the compilers.  Needs the extra ``compile``."""
