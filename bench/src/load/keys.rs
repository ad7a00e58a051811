//! Which key a request names: choosers of numbers below the count of keys, each from its own seeded stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// Every key as often
    Uniform,
    /// Few keys often, spread over the whole range (YCSB's scrambled Zipfian)
    Zipfian,
    /// In order, from the first again after the last
    Sequential,
    /// Zipfian by age: the newest key most often
    Latest,
    /// `--hot-traffic` of the requests go to the first `--hot-keys` of the keys
    HotSet,
}

/// The shape of the distributions that have one.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Exponent of the Zipfian distributions, above 0.
    pub theta: f64,
    /// Part of the keys that is hot.
    pub hot_keys: f64,
    /// Part of the requests that goes to them.
    pub hot_traffic: f64,
}

/// Keys that exist: those there were at the start and those inserted since, by all threads.
pub type KeyCount = Arc<AtomicU64>;

/// Chooses keys for one thread.
#[derive(Clone, Debug)]
pub struct Chooser {
    distribution: Distribution,
    rng: fastrand::Rng,
    count: KeyCount,
    /// Keys there were at the start.
    keys: u64,
    zipf: Zipf,
    /// Coprime to `keys`, so that rank times stride modulo keys is a permutation.
    stride: u64,
    next: u64,
    step: u64,
    hot: u64,
    hot_traffic: f64,
}

impl Chooser {
    /// A chooser for thread `thread` of `threads` (sequential keys are dealt out among them). `keys` is at least 1.
    #[must_use]
    pub fn new(
        distribution: Distribution,
        shape: Shape,
        keys: u64,
        count: KeyCount,
        seed: u64,
        (thread, threads): (u64, u64),
    ) -> Self {
        assert!(keys > 0 && threads > 0, "a chooser needs a key and a thread");
        let mut stride = (keys as f64 * 0.618_033_988_75) as u64 | 1;
        while gcd(stride, keys) != 1 {
            stride += 2;
        }
        let hot = ((keys as f64 * shape.hot_keys) as u64).clamp(1, keys);
        Self {
            distribution,
            rng: fastrand::Rng::with_seed(seed),
            count,
            keys,
            zipf: Zipf::new(keys, shape.theta),
            stride,
            next: thread % keys,
            step: threads,
            hot,
            hot_traffic: shape.hot_traffic,
        }
    }

    /// The next key.
    pub fn choose(&mut self) -> u64 {
        match self.distribution {
            Distribution::Uniform => self.rng.u64(0..self.keys),
            Distribution::Zipfian => {
                let rank = self.zipf.rank(&mut self.rng);
                (u128::from(rank) * u128::from(self.stride) % u128::from(self.keys)) as u64
            }
            Distribution::Sequential => {
                let key = self.next;
                self.next = (key + self.step) % self.keys;
                key
            }
            Distribution::Latest => {
                let count = self.count.load(Ordering::Relaxed);
                self.zipf.resize(count);
                count - 1 - self.zipf.rank(&mut self.rng)
            }
            Distribution::HotSet => {
                if self.hot == self.keys || self.rng.f64() < self.hot_traffic {
                    self.rng.u64(0..self.hot)
                } else {
                    self.rng.u64(self.hot..self.keys)
                }
            }
        }
    }

    /// A key that did not exist.
    pub fn insert(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Ranks from 0 with probability in proportion to 1 / (rank + 1)^theta, exactly: rejection-inversion (W. Hörmann and
/// G. Derflinger, 1996), which needs no table and no sum over the keys.
#[derive(Clone, Debug)]
struct Zipf {
    count: u64,
    theta: f64,
    first: f64,
    last: f64,
    shift: f64,
}

impl Zipf {
    fn new(count: u64, theta: f64) -> Self {
        let mut zipf = Self { count: 0, theta, first: 0.0, last: 0.0, shift: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.shift = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf.resize(count);
        zipf
    }

    fn resize(&mut self, count: u64) {
        if self.count != count {
            self.count = count;
            self.last = self.integral(count as f64 + 0.5);
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the weight from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.theta) * log;
        if t.abs() > 1e-8 { t.exp_m1() / t * log } else { (1.0 + t / 2.0) * log }
    }

    fn inverse(&self, area: f64) -> f64 {
        let t = (area * (1.0 - self.theta)).max(-1.0);
        let log = if t.abs() > 1e-8 { t.ln_1p() / t * area } else { (1.0 - t / 2.0) * area };
        log.exp()
    }

    fn rank(&self, rng: &mut fastrand::Rng) -> u64 {
        loop {
            let area = self.last + rng.f64() * (self.first - self.last);
            let x = self.inverse(area);
            let number = ((x + 0.5) as u64).clamp(1, self.count);
            let k = number as f64;
            if k - x <= self.shift || area >= self.integral(k + 0.5) - self.weight(k) {
                return number - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { theta: 0.99, hot_keys: 0.2, hot_traffic: 0.8 };
    const KEYS: u64 = 100;
    const DRAWS: u64 = 200_000;

    fn counts(distribution: Distribution) -> Vec<u64> {
        let count = KeyCount::new(AtomicU64::new(KEYS));
        let mut chooser = Chooser::new(distribution, SHAPE, KEYS, count, 7, (0, 1));
        let mut counts = vec![0; KEYS as usize];
        for _ in 0..DRAWS {
            counts[chooser.choose() as usize] += 1;
        }
        counts
    }

    /// With 99 degrees of freedom chi-square is above 149 once in a thousand times; the seed is fixed.
    fn assert_follows(counts: &[u64], weight: impl Fn(usize) -> f64) {
        let total: f64 = (0..counts.len()).map(&weight).sum();
        let chi_square: f64 = (0..counts.len())
            .map(|i| {
                let expected = DRAWS as f64 * weight(i) / total;
                (counts[i] as f64 - expected).powi(2) / expected
            })
            .sum();
        assert!(chi_square < 149.0, "chi-square {chi_square} of {counts:?}");
    }

    #[test]
    fn uniform_keys_are_uniform() {
        assert_follows(&counts(Distribution::Uniform), |_| 1.0);
    }

    #[test]
    fn zipfian_keys_follow_their_ranks_and_are_scattered() {
        let mut counts = counts(Distribution::Zipfian);
        let most = counts.iter().max().copied();
        assert_eq!(most, Some(counts[0]), "rank 0 is key 0");
        assert!(counts[1] < counts[0] / 10, "the second key is not of the second rank");
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_follows(&counts, |rank| 1.0 / (rank as f64 + 1.0).powf(SHAPE.theta));
    }

    #[test]
    fn a_zipfian_exponent_of_one_or_two_is_exact_as_well() {
        for theta in [1.0, 2.0, 0.2] {
            let zipf = Zipf::new(KEYS, theta);
            let mut rng = fastrand::Rng::with_seed(3);
            let mut counts = vec![0; KEYS as usize];
            (0..DRAWS).for_each(|_| counts[zipf.rank(&mut rng) as usize] += 1);
            assert_follows(&counts, |rank| 1.0 / (rank as f64 + 1.0).powf(theta));
        }
    }

    #[test]
    fn the_newest_key_is_chosen_most_also_after_inserts() {
        let newest_first = |i: usize| 1.0 / ((KEYS as usize - i) as f64).powf(SHAPE.theta);
        assert_follows(&counts(Distribution::Latest), newest_first);
        let count = KeyCount::new(AtomicU64::new(1));
        let mut chooser = Chooser::new(Distribution::Latest, SHAPE, 1, count, 7, (0, 1));
        assert_eq!((1..KEYS).map(|_| chooser.insert()).collect::<Vec<_>>(), (1..KEYS).collect::<Vec<_>>());
        let mut counts = vec![0; KEYS as usize];
        (0..DRAWS).for_each(|_| counts[chooser.choose() as usize] += 1);
        assert_follows(&counts, newest_first);
    }

    #[test]
    fn hot_keys_get_their_part_of_the_traffic() {
        assert_follows(&counts(Distribution::HotSet), |i| if i < 20 { 0.8 / 20.0 } else { 0.2 / 80.0 });
    }

    #[test]
    fn sequential_keys_are_dealt_out_among_threads() {
        let count = KeyCount::new(AtomicU64::new(4));
        let of = |thread| {
            let mut chooser = Chooser::new(Distribution::Sequential, SHAPE, 4, count.clone(), 1, (thread, 2));
            [(); 3].map(|()| chooser.choose())
        };
        assert_eq!((of(0), of(1)), ([0, 2, 0], [1, 3, 1]));
    }

    #[test]
    fn scattering_is_a_permutation() {
        for keys in [1, 2, 3, 10, 64, 997, 1000] {
            let count = KeyCount::new(AtomicU64::new(keys));
            let stride = Chooser::new(Distribution::Zipfian, SHAPE, keys, count, 1, (0, 1)).stride;
            let mut all: Vec<u64> = (0..keys).map(|rank| rank * stride % keys).collect();
            all.sort_unstable();
            assert_eq!(all, (0..keys).collect::<Vec<_>>());
        }
    }
}
