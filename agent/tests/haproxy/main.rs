//! What is told to a real HAProxy while it runs.

mod certificates;
mod program;
