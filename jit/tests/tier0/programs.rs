//! Whole programs, run plainly, with imports that suspend, and with checkpoints that suspend.
