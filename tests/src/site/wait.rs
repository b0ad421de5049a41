//! Waiting for something that comes about by itself.
//!
//! A wait is a predicate and a patience, never a sleep that hopes; when the patience runs out the
//! error says what was last seen.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Between two looks: short beside anything waited for, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks until `look` succeeds and gives what it found; its error is what was last seen.
///
/// # Errors
/// When `patience` ran out; names `what` and what was last seen.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if started.elapsed() >= patience => {
                return Err(seen.context(format!("waited {patience:?} in vain: {what}; last seen")));
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Looks again and again for `span`; every look must succeed.
///
/// # Errors
/// With the first look that failed, and when.
pub fn throughout(what: &str, span: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let mut looks = 0_u32;
    while started.elapsed() < span {
        look().map_err(|e| e.context(format!("after {:?}, not: {what}", started.elapsed())))?;
        looks += 1;
        sleep(PAUSE);
    }
    ensure!(looks > 0, "there was no time to look: {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_wait_ends_when_it_comes_about() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(60), || {
            looks += 1;
            ensure!(looks == 3, "look {looks}");
            Ok(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_wait_in_vain_says_what_was_last_seen() {
        let error = until::<()>("rain", Duration::ZERO, || bail!("sun")).unwrap_err();
        assert!(
            format!("{error:#}").contains("in vain: rain; last seen: sun"),
            "{error:#}"
        );
    }

    #[test]
    fn one_bad_look_ends_a_watch() {
        let error = throughout("calm", Duration::from_secs(60), || bail!("storm")).unwrap_err();
        assert!(
            format!("{error:#}").ends_with("not: calm: storm"),
            "{error:#}"
        );
    }
}
