//! How long a value is.

use std::str::FromStr;

/// A value is at most as long as a string of Redis.
const VALUE_BYTES_MAX: usize = 512 << 20;
/// The long tail of a lognormal distribution ends at this multiple of its median.
const TAIL: f64 = 100.0;

/// A distribution of lengths in bytes: `128`, `uniform:MIN-MAX`, `list:BYTES=WEIGHT,...` or `lognormal:MEDIAN,SIGMA`.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSizes {
    /// All alike.
    Fixed(usize),
    /// Each length from the first to the last as often.
    Uniform(usize, usize),
    /// Lengths with the sums of the weights up to each.
    List(Vec<(usize, f64)>),
    /// Median in bytes, and the standard deviation of the logarithm; cut at 100 times the median.
    Lognormal(f64, f64),
}

impl ValueSizes {
    /// The length of the next value.
    pub fn choose(&self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Uniform(least, most) => rng.usize(*least..=*most),
            Self::List(list) => {
                let total = list.last().map_or(0.0, |(_, sum)| *sum);
                let at = rng.f64() * total;
                list[list.partition_point(|(_, sum)| *sum <= at).min(list.len() - 1)].0
            }
            Self::Lognormal(median, sigma) => {
                // Box and Muller's transform of two uniform numbers into a normal one.
                let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
                ((median * (sigma * normal).exp()) as usize).min(self.longest())
            }
        }
    }

    /// No value is longer.
    #[must_use]
    pub fn longest(&self) -> usize {
        match self {
            Self::Fixed(bytes) | Self::Uniform(_, bytes) => *bytes,
            Self::List(list) => list.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
            Self::Lognormal(median, _) => (median * TAIL) as usize,
        }
    }
}

impl FromStr for ValueSizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "{text:?} is none of BYTES, uniform:MIN-MAX, list:BYTES=WEIGHT,... and lognormal:MEDIAN,SIGMA"
            )
        };
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| usage());
        let positive = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0).ok_or_else(usage)
        };
        let sizes = match text.split_once(':') {
            None => Self::Fixed(number(text)?),
            Some(("uniform", range)) => {
                let (least, most) = range.split_once('-').ok_or_else(usage)?;
                let (least, most) = (number(least)?, number(most)?);
                if least > most {
                    return Err(format!(
                        "{text:?}: {least} is more than {most}; write the smaller one first"
                    ));
                }
                Self::Uniform(least, most)
            }
            Some(("list", items)) => {
                let mut sum = 0.0;
                let mut list = Vec::new();
                for item in items.split(',') {
                    let (bytes, weight) = item.split_once('=').ok_or_else(usage)?;
                    sum += positive(weight)?;
                    list.push((number(bytes)?, sum));
                }
                Self::List(list)
            }
            Some(("lognormal", rest)) => {
                let (median, sigma) = rest.split_once(',').ok_or_else(usage)?;
                Self::Lognormal(positive(median)?, positive(sigma)?)
            }
            Some(_) => return Err(usage()),
        };
        if sizes.longest() > VALUE_BYTES_MAX {
            return Err(format!("{text:?}: a value is at most {VALUE_BYTES_MAX} bytes long; choose less"));
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(text: &str) -> Vec<usize> {
        let sizes: ValueSizes = text.parse().expect("sound");
        let mut rng = fastrand::Rng::with_seed(11);
        (0..40_000).map(|_| sizes.choose(&mut rng)).collect()
    }

    /// Asserts that `part` of the draws satisfy `holds`, within four standard deviations.
    fn assert_part(draws: &[usize], part: f64, holds: impl Fn(usize) -> bool) {
        let n = draws.len() as f64;
        let found = draws.iter().filter(|&&d| holds(d)).count() as f64;
        let deviation = (n * part * (1.0 - part)).sqrt();
        assert!((found - n * part).abs() <= 4.0 * deviation, "{found} of {n}, expected {}", n * part);
    }

    #[test]
    fn lengths_follow_their_distribution() {
        assert_part(&draws("7"), 1.0, |d| d == 7);
        let uniform = draws("uniform:1-10");
        (1..=10).for_each(|n| assert_part(&uniform, 0.1, |d| d == n));
        let list = draws("list:64=70,1024=20,0=10");
        for (bytes, part) in [(64, 0.7), (1024, 0.2), (0, 0.1)] {
            assert_part(&list, part, |d| d == bytes);
        }
        // The quantiles of a normal distribution at minus one, zero and one standard deviation.
        let lognormal = draws("lognormal:10000,0.5");
        for (z, part) in [(-1.0_f64, 0.158_66), (0.0, 0.5), (1.0, 0.841_34)] {
            let bound = 10_000.0 * (0.5 * z).exp();
            assert_part(&lognormal, part, |d| (d as f64) < bound);
        }
    }

    #[test]
    fn what_is_wrong_with_a_distribution_is_said() {
        let bad = [
            "",
            "x",
            "uniform:3",
            "uniform:9-1",
            "list:1",
            "list:1=0",
            "lognormal:5",
            "zeta:1",
            "999999999999",
        ];
        for text in bad {
            let error = text.parse::<ValueSizes>().expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
