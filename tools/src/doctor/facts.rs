//! What was read of a machine, before anything is judged.

/// What a doctor looks at. `None` and empty lists: it could not be read here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The CPUs that cores would run on.
    pub cpus: Vec<usize>,
    /// The release of the kernel.
    pub kernel: Option<String>,
    /// Whether a core can have its ring.
    pub ring: Option<Ring>,
    /// The sysctl `kernel.io_uring_disabled`.
    pub ring_disabled: Option<u64>,
    /// The mode of seccomp this process runs under: 0 off, 1 strict, 2 a filter.
    pub seccomp: Option<u64>,
    /// Bytes that may be locked.
    pub locked_bytes: Option<Limit>,
    /// Files that may be open.
    pub open_files: Option<Limit>,
    /// The choices of transparent huge pages, the one that holds in brackets.
    pub huge_pages: Option<String>,
    /// The governor of each CPU.
    pub governors: Vec<(usize, String)>,
    /// CPUs that the scheduler leaves alone.
    pub isolated: Option<Vec<usize>>,
    /// CPUs without a regular tick.
    pub tickless: Option<Vec<usize>>,
    /// CPU time that the control group of this process may use.
    pub quota: Option<Quota>,
    /// How often devices interrupted the CPUs above.
    pub interrupts: Option<Vec<Interrupts>>,
    /// The sysctl `net.core.somaxconn`.
    pub backlog: Option<u64>,
    /// Where the data directory is, or would be, mounted.
    pub mount: Option<Mount>,
    /// Whether a file of the data directory can be opened past the page cache; else why not.
    pub direct: Option<Result<(), String>>,
    /// Bytes free on that file system, for this user.
    pub free_bytes: Option<u64>,
    /// The kind of write cache its disk reports.
    pub write_cache: Option<String>,
    /// How long durable writes take; else why none could be made.
    pub syncs: Option<Result<Syncs, String>>,
    /// Where the kernel takes its time from.
    pub clock_source: Option<String>,
    /// Bytes of swap.
    pub swap_bytes: Option<u64>,
    /// Nodes of memory, each with its CPUs.
    pub numa: Vec<Vec<usize>>,
    /// The sysctl `vm.overcommit_memory`.
    pub overcommit: Option<u64>,
}

/// A core's ring, tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// It can be set up; the kernel does not know these operations.
    Missing(Vec<&'static str>),
    /// It cannot, and this is what the server would say.
    Refused(String),
}

/// A limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None.
    Unlimited,
    /// This many.
    AtMost(u64),
}

impl Limit {
    /// Whether `wanted` fit.
    #[must_use]
    pub fn allows(self, wanted: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(limit) => limit >= wanted,
        }
    }
}

/// CPU time that a control group may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quota {
    /// All.
    Unlimited,
    /// That of so many CPUs.
    Cpus(f64),
}

/// A device that interrupts a CPU of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Interrupts {
    /// Number and name, as in `/proc/interrupts`.
    pub device: String,
    /// The CPU.
    pub cpu: usize,
    /// How often each second.
    pub per_second: f64,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// Its type.
    pub kind: String,
    /// Its options, and those of its super block.
    pub options: Vec<String>,
    /// The number of its device, as `MAJOR:MINOR`.
    pub device: String,
}

/// How long durable writes took, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syncs {
    /// Writes that were made.
    pub count: u64,
    /// Half were faster.
    pub p50: u64,
    /// One of ten was slower.
    pub p90: u64,
    /// One of a hundred was slower.
    pub p99: u64,
    /// One of a thousand was slower.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// The histogram: each bar's upper end and how many writes it holds, up to the slowest.
    pub bars: Vec<(u64, u64)>,
}

/// Reads a list of CPUs as the kernel writes it: `0-3,6`.
#[must_use]
pub fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty() && *part != "(null)") {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last < first || last - first > 1 << 16 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Finds the mount that holds the absolute `path`, in the text of `/proc/self/mountinfo`.
#[must_use]
pub fn mount_of(mountinfo: &str, path: &str) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for line in mountinfo.lines() {
        let Some((place, system)) = line.split_once(" - ") else { continue };
        let place: Vec<&str> = place.split(' ').collect();
        let system: Vec<&str> = system.split(' ').collect();
        let ([_, _, device, _, point, options, ..], [kind, _, of_super, ..]) = (&place[..], &system[..])
        else {
            continue;
        };
        let point = unescaped(point);
        let inside = point == "/"
            || path.strip_prefix(&point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // A later mount of the same place hides an earlier one.
        if inside && best.as_ref().is_none_or(|best| best.point.len() <= point.len()) {
            let options = options.split(',').chain(of_super.split(',')).map(str::to_owned).collect();
            best = Some(Mount { point, kind: (*kind).to_owned(), options, device: (*device).to_owned() });
        }
    }
    best
}

/// The kernel writes blanks in paths as octal numbers.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Which devices interrupted `cpus` between two readings of `/proc/interrupts`, `seconds` apart, busiest first.
/// Interrupts of the CPUs themselves (timers, calls between them) do not count.
#[must_use]
pub fn interrupts(before: &str, after: &str, cpus: &[usize], seconds: f64) -> Vec<Interrupts> {
    let earlier: Vec<(String, usize, u64)> = counts(before);
    let mut found: Vec<Interrupts> = counts(after)
        .into_iter()
        .filter(|(_, cpu, _)| cpus.contains(cpu))
        .filter_map(|(device, cpu, count)| {
            let then = earlier.iter().find(|(d, c, _)| *d == device && *c == cpu).map_or(0, |found| found.2);
            let more = count.saturating_sub(then);
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            (more > 0).then(|| Interrupts { device, cpu, per_second: more as f64 / seconds })
        })
        .collect();
    found.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
    found
}

fn counts(text: &str) -> Vec<(String, usize, u64)> {
    let mut lines = text.lines();
    let heads = lines.next().unwrap_or_default().split_whitespace();
    let cpus: Vec<usize> = heads.filter_map(|head| head.strip_prefix("CPU")?.parse().ok()).collect();
    let mut all = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.strip_suffix(':')) else { continue };
        if !number.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let words: Vec<&str> = words.collect();
        let name = words.last().copied().unwrap_or_default();
        for (&cpu, word) in cpus.iter().zip(&words) {
            if let Ok(count) = word.parse() {
                all.push((format!("{number} {name}"), cpu, count));
            }
        }
    }
    all
}
