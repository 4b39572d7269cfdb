//! Drives the command `metagraph`.
