"""What tests share: small checkpoints, pictures, stand-ins for devices, and the command line as a function."""
