//! The kernels' fences of one claim: who could be answering at which instant.

use super::clock::MS;

/// The latest that a kernel closes a fence after its time.
pub const LATE: u64 = 20 * MS;

/// When one node's fence is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fence {
    from: u64,
    until: u64,
}

/// The fences of one claim, by node.
#[derive(Clone, Debug)]
pub struct Fences(Vec<Fence>);

impl Fences {
    /// All closed.
    pub fn new(nodes: usize) -> Self {
        Self(vec![Fence::default(); nodes])
    }

    /// Opens the fence of `node` from `at` to `until`, or moves its end. Who else's is open then.
    pub fn open(&mut self, node: usize, at: u64, until: u64) -> Option<usize> {
        let old = self.0[node];
        let from = if old.until > at { old.from.min(at) } else { at };
        self.0[node] = Fence { from, until };
        (0..self.0.len()).find(|other| {
            let theirs = self.0[*other];
            *other != node && theirs.from < until && at < theirs.until && theirs.from < theirs.until
        })
    }

    /// Closes the fence of `node` at `at`.
    pub fn close(&mut self, node: usize, at: u64) {
        self.0[node].until = self.0[node].until.min(at);
    }

    /// Who could be answering at `at`.
    pub fn holder(&self, at: u64) -> Option<usize> {
        self.0
            .iter()
            .position(|fence| fence.from <= at && at < fence.until)
    }

    /// Who could be answering at `at`, and since when without a break.
    pub fn holder_since(&self, at: u64) -> Option<(usize, u64)> {
        self.holder(at).map(|node| (node, self.0[node].from))
    }

    /// Whether the fence of `node` is open at `at` or will be.
    pub fn open_after(&self, node: usize, at: u64) -> bool {
        self.0[node].until > at && self.0[node].from < self.0[node].until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_seen_from_either_side_and_a_handover_is_none() {
        let mut fences = Fences::new(2);
        assert_eq!(fences.open(0, 10, 20), None);
        assert_eq!(fences.open(1, 20, 30), None);
        assert_eq!(fences.open(1, 21, 40), None);
        assert_eq!(fences.open(0, 39, 50), Some(1));
        fences.close(1, 39);
        assert_eq!(fences.open(0, 39, 60), None);
        assert_eq!((fences.holder(38), fences.holder(45)), (Some(1), Some(0)));
    }
}
