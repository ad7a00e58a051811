//! Where the time of a request goes: nine stages that partition its critical path.
//!
//! | stage | ends when |
//! |---|---|
//! | parse | every received byte of its turn has been parsed |
//! | route | the owner core begins with the requests of that turn |
//! | admit | the owner has taken them in: reads answered from memory or started, batches accepted |
//! | propose | its entry was handed to Raft and to the log |
//! | persist | its entry is on stable storage |
//! | replicate | a quorum has it |
//! | commit | Raft gave it to the apply pipeline |
//! | apply | its reply was produced |
//! | reply | the send that carries the reply was given to the host |
//!
//! The path begins when its last byte was taken from the kernel. A [`Trail`] holds one reading of the time-stamp
//! counter per stage, shared by all requests that passed it together; a stage that a request did not pass (a read is not
//! proposed) takes no time. Readings of two cores may differ by some ticks: each is clamped between its predecessor
//! and the end, so that the stages of a request sum to its whole **exactly**.

use hdrhistogram::Histogram;

use crate::admin::Distribution;
use crate::series::{Name, Series};

/// How many stages there are.
pub const STAGE_COUNT: usize = 9;

/// The stages, in the order in which a request passes them.
pub const STAGES: [Stage; STAGE_COUNT] = [
    Stage::Parse,
    Stage::Route,
    Stage::Admit,
    Stage::Propose,
    Stage::Persist,
    Stage::Replicate,
    Stage::Commit,
    Stage::Apply,
    Stage::Reply,
];

/// One stage. See the module page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table of the module page says what each is")]
pub enum Stage {
    Parse,
    Route,
    Admit,
    Propose,
    Persist,
    Replicate,
    Commit,
    Apply,
    Reply,
}

impl Stage {
    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Route => "route",
            Self::Admit => "admit",
            Self::Propose => "propose",
            Self::Persist => "persist",
            Self::Replicate => "replicate",
            Self::Commit => "commit",
            Self::Apply => "apply",
            Self::Reply => "reply",
        }
    }
}

/// Stages that end on the owner core; the last one ends where the connection is.
pub const MARK_COUNT: usize = STAGE_COUNT - 1;

/// When requests that travel together ended each stage before the last, in ticks; 0 where they did not pass one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    marks: [u64; MARK_COUNT],
}

impl Trail {
    /// A trail with these marks.
    #[must_use]
    pub const fn from_marks(marks: [u64; MARK_COUNT]) -> Self {
        Self { marks }
    }

    /// The marks.
    #[must_use]
    pub const fn marks(&self) -> &[u64; MARK_COUNT] {
        &self.marks
    }

    /// Notes that `stage` ended at `ticks`.
    ///
    /// # Panics
    /// For [`Stage::Reply`], which each reply ends for itself.
    pub fn mark(&mut self, stage: Stage, ticks: u64) {
        self.marks[stage as usize] = ticks;
    }

    /// Takes over the marks that another core has set.
    pub fn merge(&mut self, other: &Self) {
        for (mine, &theirs) in self.marks.iter_mut().zip(&other.marks) {
            if theirs != 0 {
                *mine = theirs;
            }
        }
    }

    /// The duration of each stage, for a request whose last byte was read at `start` and whose reply was submitted at
    /// `end`. They sum to `end - start` (to 0 when `end` lies before `start`).
    #[must_use]
    pub fn durations(&self, start: u64, end: u64) -> [u64; STAGE_COUNT] {
        self.measure(start, end).0
    }

    /// The durations, and by how many ticks marks had to be moved so that they follow one another: what a stage was given
    /// or denied by that.
    fn measure(&self, start: u64, end: u64) -> ([u64; STAGE_COUNT], u64) {
        let end = end.max(start);
        let (mut durations, mut before, mut displaced) = ([0; STAGE_COUNT], start, 0);
        for (duration, &told) in durations.iter_mut().zip(&self.marks) {
            if told == 0 {
                continue;
            }
            let mark = told.clamp(before, end);
            displaced += mark.abs_diff(told);
            *duration = mark - before;
            before = mark;
        }
        durations[Stage::Reply as usize] = end - before;
        (durations, displaced)
    }
}

/// Longest duration told apart, in ticks (about a minute); longer ones count as this.
pub(crate) const TICKS_MAX: u64 = 1 << 37;

/// What one core measured: a histogram and an exact sum per stage, and the same for the whole path.
pub struct Stages {
    histograms: [Histogram<u64>; STAGE_COUNT],
    whole: Histogram<u64>,
    sums_ticks: [u64; STAGE_COUNT],
    whole_ticks: u64,
    displaced_ticks: u64,
    requests: u64,
}

impl Default for Stages {
    fn default() -> Self {
        Self::new()
    }
}

/// The figures of one stage (or of the whole path) of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageFigures {
    /// Requests.
    pub count: u64,
    /// The sum of their durations, in nanoseconds.
    pub sum_nanos: u64,
    /// The median, in nanoseconds.
    pub p50_nanos: u64,
    /// The 99th percentile, in nanoseconds.
    pub p99_nanos: u64,
    /// The 99.9th percentile, in nanoseconds.
    pub p999_nanos: u64,
    /// The longest, in nanoseconds.
    pub max_nanos: u64,
}

impl Stages {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            histograms: std::array::from_fn(|_| histogram()),
            whole: histogram(),
            sums_ticks: [0; STAGE_COUNT],
            whole_ticks: 0,
            displaced_ticks: 0,
            requests: 0,
        }
    }

    /// Records `count` requests that share a trail, a start and an end. Answers how long each stage of them took.
    pub fn record(&mut self, trail: &Trail, start: u64, end: u64, count: u64) -> [u64; STAGE_COUNT] {
        let (durations, displaced) = trail.measure(start, end);
        self.displaced_ticks += displaced * count;
        for (stage, &ticks) in durations.iter().enumerate() {
            self.sums_ticks[stage] += ticks * count;
            self.histograms[stage].saturating_record_n(ticks.min(TICKS_MAX), count);
        }
        let whole = end.max(start) - start;
        self.whole.saturating_record_n(whole.min(TICKS_MAX), count);
        self.whole_ticks += whole * count;
        self.requests += count;
        debug_assert_eq!(durations.iter().sum::<u64>(), whole);
        durations
    }

    /// By how many ticks all marks had to be moved, so that each lay behind the one before and none behind the end. None
    /// where all cores read one counter; a few where their counters differ. More: some mark is not that of its request.
    #[must_use]
    pub const fn displaced_ticks(&self) -> u64 {
        self.displaced_ticks
    }

    /// Requests recorded.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// What must hold: the sums of the stages are the sum of the whole, and every histogram counted every request.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        assert_eq!(
            self.sums_ticks.iter().sum::<u64>(),
            self.whole_ticks,
            "the stages do not sum to the whole"
        );
        assert!(self.histograms.iter().all(|stage| stage.len() == self.requests));
        assert_eq!(self.whole.len(), self.requests);
    }

    /// The figures of `stage`.
    #[must_use]
    pub fn figures(&self, stage: Stage, ticks_per_micro: u64) -> StageFigures {
        figures(&self.histograms[stage as usize], self.sums_ticks[stage as usize], ticks_per_micro)
    }

    /// The figures of the whole path, from the last byte read to the send submitted.
    #[must_use]
    pub fn whole(&self, ticks_per_micro: u64) -> StageFigures {
        figures(&self.whole, self.whole_ticks, ticks_per_micro)
    }

    /// The durations of `stage`, in buckets.
    #[must_use]
    pub fn distribution(&self, stage: Stage, ticks_per_micro: u64) -> Distribution {
        Distribution::of(&self.histograms[stage as usize], self.sums_ticks[stage as usize], ticks_per_micro)
    }

    /// The durations of the whole path, in buckets.
    #[must_use]
    pub fn whole_distribution(&self, ticks_per_micro: u64) -> Distribution {
        Distribution::of(&self.whole, self.whole_ticks, ticks_per_micro)
    }

    /// The same with all that is known of how long they took, in ticks; the stage behind the last is the whole.
    #[must_use]
    pub fn series(&self, stage: usize) -> Series {
        let (histogram, sum) = match self.histograms.get(stage) {
            Some(histogram) => (histogram, self.sums_ticks[stage]),
            None => (&self.whole, self.whole_ticks),
        };
        let buckets = histogram
            .iter_recorded()
            .map(|bucket| {
                let value = bucket.value_iterated_to();
                // The middle of those that count as equal, as a spread tells it.
                ((histogram.lowest_equivalent(value) + value) / 2, bucket.count_since_last_iteration())
            })
            .collect();
        let name = Name::Stage(stage).to_string();
        Series { name, count: histogram.len(), sum, max: histogram.max(), buckets }
    }

    /// The exact sums, in ticks: of each stage, and of the whole.
    #[must_use]
    pub const fn sums_ticks(&self) -> (&[u64; STAGE_COUNT], u64) {
        (&self.sums_ticks, self.whole_ticks)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.histograms.iter_mut().for_each(Histogram::reset);
        self.whole.reset();
        self.sums_ticks = [0; STAGE_COUNT];
        self.whole_ticks = 0;
        self.displaced_ticks = 0;
        self.requests = 0;
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TICKS_MAX, 2).expect("the bounds are in order and two digits are allowed")
}

fn figures(histogram: &Histogram<u64>, sum_ticks: u64, ticks_per_micro: u64) -> StageFigures {
    let nanos = |ticks: u64| (u128::from(ticks) * 1000 / u128::from(ticks_per_micro.max(1))) as u64;
    StageFigures {
        count: histogram.len(),
        sum_nanos: nanos(sum_ticks),
        p50_nanos: nanos(histogram.value_at_quantile(0.5)),
        p99_nanos: nanos(histogram.value_at_quantile(0.99)),
        p999_nanos: nanos(histogram.value_at_quantile(0.999)),
        max_nanos: nanos(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sum_exactly_whatever_the_marks_are() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let marks = std::array::from_fn(|_| if rng.bool() { 0 } else { rng.u64(..1_000) });
            let (start, end) = (rng.u64(..1_000), rng.u64(..1_000));
            let durations = Trail::from_marks(marks).durations(start, end);
            assert_eq!(durations.iter().sum::<u64>(), end.saturating_sub(start), "{marks:?} {start} {end}");
        }
    }

    #[test]
    fn a_stage_takes_the_time_since_the_one_before() {
        let mut trail = Trail::default();
        trail.mark(Stage::Parse, 110);
        trail.mark(Stage::Admit, 150);
        trail.mark(Stage::Apply, 151);
        assert_eq!(trail.measure(100, 160), ([10, 0, 40, 0, 0, 0, 0, 1, 9], 0));
        assert_eq!(trail.measure(120, 150), ([0, 0, 30, 0, 0, 0, 0, 0, 0], 11));
    }

    #[test]
    fn recorded_sums_are_exact_and_figures_are_in_nanoseconds() {
        let mut stages = Stages::new();
        let mut trail = Trail::default();
        trail.mark(Stage::Parse, 2_000);
        stages.record(&trail, 1_000, 5_000, 3);
        stages.record(&trail, 1_500, 2_500, 1);
        stages.check();
        let parse = stages.figures(Stage::Parse, 1_000);
        assert_eq!((parse.count, parse.sum_nanos), (4, 3_500));
        assert_eq!(stages.whole(1_000).sum_nanos, 13_000);
        stages.reset();
        stages.check();
        assert_eq!(stages.requests(), 0);
    }
}
