//! When the requests of an open loop are due, whatever the server does.

use std::time::Duration;

use clap::ValueEnum;

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// At equal distances
    Fixed,
    /// Independently of each other, with exponential distances
    Poisson,
    /// From `--rate` to `--rate-end`, a little faster or slower each time
    Ramp,
    /// From `--rate` to `--rate-end` in `--steps` equal steps
    Step,
}

/// The moments of one thread's requests, counted from the start, in order.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    rate: f64,
    rate_end: f64,
    steps: u32,
    seconds: f64,
    rng: fastrand::Rng,
    number: u64,
    due: f64,
}

impl Schedule {
    /// Requests per second at the start and at the end of `seconds`; both above 0.
    #[must_use]
    pub fn new(pace: Pace, rates: (f64, f64), steps: u32, seconds: f64, seed: u64) -> Self {
        let (rate, rate_end) = rates;
        let rng = fastrand::Rng::with_seed(seed);
        Self { pace, rate, rate_end, steps: steps.max(1), seconds, rng, number: 0, due: 0.0 }
    }

    /// When the next request is due.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_secs_f64(self.due)
    }

    /// Goes on to the request after.
    pub fn advance(&mut self) {
        self.number += 1;
        self.due = match self.pace {
            Pace::Fixed => self.number as f64 / self.rate,
            Pace::Poisson => self.due - (1.0 - self.rng.f64()).ln() / self.rate,
            // By t there were rate t + growth t^2 / 2 requests; solved for t so that it holds without growth too.
            Pace::Ramp => {
                let (k, growth) = (self.number as f64, (self.rate_end - self.rate) / self.seconds);
                let root = (self.rate * self.rate + 2.0 * growth * k).max(0.0).sqrt();
                2.0 * k / (self.rate + root)
            }
            Pace::Step => self.due + 1.0 / self.step_rate(),
        };
    }

    fn step_rate(&self) -> f64 {
        let step = ((self.due / self.seconds * f64::from(self.steps)) as u32).min(self.steps - 1);
        let part = if self.steps == 1 { 0.0 } else { f64::from(step) / f64::from(self.steps - 1) };
        self.rate + (self.rate_end - self.rate) * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(pace: Pace, rates: (f64, f64), steps: u32, seconds: f64) -> Vec<f64> {
        let mut schedule = Schedule::new(pace, rates, steps, seconds, 5);
        let mut moments = Vec::new();
        while schedule.due().as_secs_f64() < seconds {
            moments.push(schedule.due().as_secs_f64());
            schedule.advance();
        }
        assert!(moments.is_sorted());
        moments
    }

    fn between(moments: &[f64], from: f64, to: f64) -> f64 {
        moments.iter().filter(|&&m| m >= from && m < to).count() as f64
    }

    #[test]
    fn a_fixed_rate_has_equal_distances() {
        let moments = moments(Pace::Fixed, (1000.0, 1000.0), 1, 2.0);
        assert_eq!(moments.len(), 2000);
        assert!((moments[1500] - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_poisson_stream_has_its_mean_and_exponential_distances() {
        let moments = moments(Pace::Poisson, (1000.0, 1000.0), 1, 40.0);
        assert!((moments.len() as f64 - 40_000.0).abs() < 4.0 * 200.0, "{}", moments.len());
        // One distance in e is longer than the mean.
        let longer = moments.windows(2).filter(|w| w[1] - w[0] > 1e-3).count() as f64 / moments.len() as f64;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.01, "{longer}");
    }

    #[test]
    fn ramps_and_steps_reach_their_end() {
        for (from, to) in [(100.0, 900.0), (900.0, 100.0), (500.0, 500.0)] {
            let ramp = moments(Pace::Ramp, (from, to), 1, 10.0);
            assert!((ramp.len() as f64 - 5000.0).abs() <= 2.0, "{}", ramp.len());
            let middle = (from + to) / 2.0;
            assert!((between(&ramp, 0.0, 5.0) - 5.0 * (from + middle) / 2.0).abs() <= 2.0);
        }
        let steps = moments(Pace::Step, (100.0, 300.0), 3, 3.0);
        for (step, rate) in [(0.0, 100.0), (1.0, 200.0), (2.0, 300.0)] {
            assert!((between(&steps, step, step + 1.0) - rate).abs() <= 2.0, "step {step}");
        }
    }
}
