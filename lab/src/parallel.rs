//! Does one thing to many nodes at once.

use std::sync::Mutex;

use anyhow::{Result, bail};

/// Runs `work` on every item, at most `width` at a time, and reports all failures together.
pub fn each<T: Sync>(
    items: &[T],
    width: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = Mutex::new(items.iter());
    let take = || match next.lock() {
        Ok(mut items) => items.next(),
        Err(_) => None,
    };
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = take() {
                    if let (Err(error), Ok(mut failures)) = (work(item), failures.lock()) {
                        failures.push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// Threads for work that keeps a processor busy.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_and_every_failure_is_told() {
        let done = Mutex::new(Vec::new());
        let error = each(&[1, 2, 3, 4, 5], 2, |n| {
            done.lock().expect("no worker panicked").push(*n);
            if n % 2 == 0 {
                bail!("{n} is even")
            } else {
                Ok(())
            }
        })
        .expect_err("two failures")
        .to_string();
        let mut done = done.into_inner().expect("no worker panicked");
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3, 4, 5]);
        assert!(
            error.contains("2 is even") && error.contains("4 is even"),
            "{error}"
        );
    }
}
