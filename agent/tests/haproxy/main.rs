//! What is told to a real HAProxy while it runs.

mod certificates;
mod drainer;
mod marker;
mod program;
