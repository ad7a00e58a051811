//! Drivers carry out what a [`Disk`] was asked to do; here is what those that need no ring have in common.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::Disk;
use crate::task::Tasks;

/// Carries out waiting submissions of a disk and completes some of them.
pub trait Driver {
    /// Answers how many operations it completed: 0 only if nothing was in flight or nothing will ever complete.
    fn drive(&mut self, disk: &Disk) -> usize;
}

/// The future waits for something that will never happen: nothing is in flight, or the disk has halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls `future`, and `tasks` when given, and drives the disk, until the future is ready or nothing moves any more.
///
/// For tests, tools and the start of a server; a running core never waits like this.
pub fn run_until<T>(
    disk: &Disk,
    driver: &mut dyn Driver,
    mut tasks: Option<&mut Tasks>,
    future: impl Future<Output = T>,
) -> Result<T, Stalled> {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut future = pin!(future);
    loop {
        if flag.0.swap(false, Ordering::Relaxed)
            && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return Ok(value);
        }
        if let Some(tasks) = tasks.as_deref_mut() {
            tasks.run_all();
        }
        let woken = flag.0.load(Ordering::Relaxed);
        if driver.drive(disk) == 0 && !woken {
            return Err(Stalled);
        }
    }
}

/// As [`run_until`], for drivers that always complete what was submitted.
///
/// # Panics
/// When the future waits for something that will never happen.
pub fn block_on<T>(
    disk: &Disk,
    driver: &mut dyn Driver,
    tasks: Option<&mut Tasks>,
    future: impl Future<Output = T>,
) -> T {
    run_until(disk, driver, tasks, future).expect("the future waits for a disk that has nothing in flight")
}
