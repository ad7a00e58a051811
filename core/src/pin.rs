//! Which CPUs this process may use, and pinning threads to them.

use std::collections::BTreeSet;

/// Why threads cannot be pinned as asked.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// A CPU is not there, or not for this process.
    #[error("CPU {cpu} is not available to this process: choose from {available:?} with --cores")]
    NotAvailable {
        /// The CPU.
        cpu: usize,
        /// What may be chosen.
        available: Vec<usize>,
    },
    /// A CPU was named twice.
    #[error("CPU {cpu} is named twice: each core needs a CPU of its own")]
    Twice {
        /// The CPU.
        cpu: usize,
    },
    /// The system refused.
    #[error("a thread cannot be pinned to CPU {cpu}: {reason}")]
    Refused {
        /// The CPU.
        cpu: usize,
        /// What it said.
        reason: String,
    },
}

/// The CPUs this thread may run on, ascending.
#[must_use]
pub fn available() -> Vec<usize> {
    let mut cpus = affinity::get_thread_affinity().unwrap_or_default();
    cpus.sort_unstable();
    cpus
}

/// Checks that every core can be pinned to its CPU.
pub fn check(cpus: &[usize]) -> Result<(), PinError> {
    let available = available();
    let mut seen = BTreeSet::new();
    for &cpu in cpus {
        if !available.contains(&cpu) {
            return Err(PinError::NotAvailable { cpu, available });
        }
        if !seen.insert(cpu) {
            return Err(PinError::Twice { cpu });
        }
    }
    Ok(())
}

/// Pins the calling thread to `cpu`.
pub fn pin(cpu: usize) -> Result<(), PinError> {
    affinity::set_thread_affinity([cpu])
        .map_err(|reason| PinError::Refused { cpu, reason: reason.to_string() })
}

/// The CPUs that no core is pinned to: for everything that is not a core.
#[must_use]
pub fn left_over(cpus: &[usize]) -> Vec<usize> {
    available().into_iter().filter(|cpu| !cpus.contains(cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_runs_on_its_cpu_alone() {
        let cpus = available();
        let last = *cpus.last().expect("this thread runs somewhere");
        #[expect(clippy::disallowed_methods, reason = "pinning is about threads")]
        let seen = std::thread::spawn(move || {
            pin(last).expect("an available CPU can be pinned to");
            available()
        })
        .join()
        .expect("the thread ends");
        assert_eq!(seen, [last]);
    }

    /// O7: a CPU that cannot be had is named, with those that can.
    #[test]
    fn absent_and_repeated_cpus_are_refused() {
        let cpus = available();
        assert!(check(&cpus).is_ok());
        let text = check(&[100_000]).expect_err("there is no such CPU").to_string();
        assert!(text.contains("100000") && text.contains(&cpus[0].to_string()), "{text}");
        assert!(matches!(check(&[cpus[0], cpus[0]]), Err(PinError::Twice { .. })));
    }
}
