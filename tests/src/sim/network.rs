//! The network between machines: cuts in one direction or both, loss, repetition, delay.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::clock::MS;

/// How bad the network is at present.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Messages lost, of 100.
    pub loss: u32,
    /// Messages repeated, of 100.
    pub repeats: u32,
    /// Messages delayed by up to `delay`, of 100.
    pub slow: u32,
    /// The longest such delay, in nanoseconds.
    pub delay: u64,
}

impl Weather {
    /// What a quiet local network does.
    pub const CALM: Self = Self {
        loss: 0,
        repeats: 0,
        slow: 0,
        delay: 0,
    };

    /// Anything up to a bad storm.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            loss: *rng.choice([0, 1, 10, 30].iter()).unwrap_or(&0),
            repeats: *rng.choice([0, 5, 30].iter()).unwrap_or(&0),
            slow: *rng.choice([0, 5, 30].iter()).unwrap_or(&0),
            delay: *rng
                .choice([20 * MS, 300 * MS, 1500 * MS].iter())
                .unwrap_or(&0),
        }
    }
}

/// Which machines hear each other, and how well.
#[derive(Clone, Debug)]
pub struct Network {
    cuts: BTreeSet<(usize, usize)>,
    pub weather: Weather,
}

impl Network {
    /// Whole and calm.
    pub const fn new() -> Self {
        Self {
            cuts: BTreeSet::new(),
            weather: Weather::CALM,
        }
    }

    /// Cuts the way from `from` to `to`, not the way back.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The delays after which copies of a message arrive: none, one or two.
    pub fn send(&self, from: usize, to: usize, rng: &mut Rng) -> Vec<u64> {
        let percent = |share: u32, rng: &mut Rng| rng.u32(0..100) < share;
        if self.cuts.contains(&(from, to)) || percent(self.weather.loss, rng) {
            return Vec::new();
        }
        let copies = 1 + usize::from(percent(self.weather.repeats, rng));
        let mut delay = || {
            let slow = percent(self.weather.slow, rng);
            let extra = if slow {
                rng.u64(0..=self.weather.delay)
            } else {
                0
            };
            rng.u64(MS / 10..2 * MS) + extra
        };
        (0..copies).map(|_| delay()).collect()
    }
}
