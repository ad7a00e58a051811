//! A compact histogram of durations: where one of two digits would take too much memory for how many there are.
//!
//! Each power of two is cut into [`PARTS`] buckets, so that what is told of a value is wrong by a sixteenth of it at most.
//! Nothing is allocated before the first value; from then on a spread takes [`BYTES`].

use crate::stages::TICKS_MAX;

/// Buckets of one power of two.
pub const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 3;
/// All buckets: values below [`PARTS`] have one each.
const BUCKETS: usize = PARTS + (TICKS_MAX.ilog2() - PART_BITS) as usize * PARTS;
/// Bytes of a spread that holds something.
pub const BYTES: usize = size_of::<Spread>() + BUCKETS * size_of::<u64>();
// As the module page of the tally states it.
const _: () = assert!(BYTES <= 2_304);

/// See the module page.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    buckets: Option<Box<[u64; BUCKETS]>>,
    sum: u64,
    max: u64,
    count: u64,
}

/// The bucket of a value.
const fn bucket_of(value: u64) -> usize {
    if value < PARTS as u64 {
        return value as usize;
    }
    let value = if value < TICKS_MAX { value } else { TICKS_MAX - 1 };
    let power = value.ilog2();
    let part = (value >> (power - PART_BITS)) as usize - PARTS;
    (power - PART_BITS + 1) as usize * PARTS + part
}

/// The middle of a bucket.
const fn middle_of(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let shift = (bucket / PARTS - 1) as u32;
    let least = ((bucket % PARTS + PARTS) as u64) << shift;
    least + (1 << shift >> 1)
}

impl Spread {
    /// Counts `count` values of `value`.
    #[inline]
    pub fn record_n(&mut self, value: u64, count: u64) {
        let buckets = self.buckets.get_or_insert_with(|| Box::new([0; BUCKETS]));
        buckets[bucket_of(value)] += count;
        self.sum = self.sum.saturating_add(value.saturating_mul(count));
        self.max = self.max.max(value);
        self.count += count;
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// How many values were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The buckets that hold something, by rising value: the middle of each, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let buckets = self.buckets.iter().flat_map(|buckets| buckets.iter().enumerate());
        buckets.filter(|(_, count)| **count > 0).map(|(bucket, &count)| (middle_of(bucket), count))
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_tell_values_to_a_sixteenth() {
        let mut last = 0;
        let mut value = 0;
        while value < TICKS_MAX {
            let bucket = bucket_of(value);
            assert!(bucket == last || bucket == last + 1, "{value} is in {bucket} after {last}");
            last = bucket;
            assert!(
                middle_of(bucket).abs_diff(value) <= value / 16,
                "{value} is told as {}",
                middle_of(bucket)
            );
            assert_eq!(bucket_of(middle_of(bucket)), bucket);
            value += 1 + value / 64;
        }
        assert_eq!((last, bucket_of(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn what_was_counted_is_told() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut spread, mut model) = (Spread::default(), Vec::new());
        for _ in 0..2_000 {
            let bits = rng.u32(1..36);
            let value = rng.u64(..1 << bits);
            spread.record_n(value, 2);
            model.push(value);
        }
        assert_eq!(spread.count(), 4_000);
        assert_eq!(spread.sum(), 2 * model.iter().sum::<u64>());
        assert_eq!(spread.max(), model.iter().copied().max().expect("there are values"));
        assert_eq!(spread.buckets().map(|(_, count)| count).sum::<u64>(), 4_000);
        assert!(spread.buckets().is_sorted_by_key(|(value, _)| value));
        model.sort_unstable();
        let mut seen = 0;
        for (value, count) in spread.buckets() {
            seen += count;
            let real = model[(seen / 2 - 1) as usize];
            assert!(value.abs_diff(real) <= real / 16, "{real} is told as {value}");
        }
        spread.reset();
        assert_eq!((spread.count(), spread.buckets().count()), (0, 0));
    }
}
