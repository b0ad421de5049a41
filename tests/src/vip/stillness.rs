//! Whether the machine itself stood still: its hypervisor may not run it for a while, and then
//! nothing on it answers, whoever holds what.
//!
//! Looked for by a thread that runs before all others and sleeps for a moment again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hamesh_kernel::thread::raise_priority;

/// A run in which the machine stood still for longer says little of a lease of 300 ms.
pub const MOST: Duration = Duration::from_millis(100);
const NAP: Duration = Duration::from_millis(5);

/// The longest time beyond a nap that this thread was not run, until told to stop.
///
/// # Errors
/// The system refuses the priority, without which a busy machine would look like one that stood
/// still.
pub fn longest(stop: &AtomicBool) -> anyhow::Result<Duration> {
    raise_priority().map_err(|refusal| anyhow::anyhow!("watching for pauses: {refusal}"))?;
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let before = Instant::now();
        sleep(NAP);
        longest = longest.max(before.elapsed().saturating_sub(NAP));
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_told() {
        let stop = AtomicBool::new(true);
        match longest(&stop) {
            Ok(longest) => assert_eq!(longest, Duration::ZERO),
            Err(refused) => assert!(refused.to_string().contains("watching for pauses")),
        }
    }
}
