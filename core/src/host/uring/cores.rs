//! The threads of a node: one per core, pinned, started together.
//!
//! A core is opened on its own thread and ring. Nobody is served before all of them are open; if one fails, all end, and
//! nothing has been half-started.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pinion_wal::disk::Disk;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};

use super::{Doors, Placing, RingError, Setup, Siblings, Uring, UringOptions};
use crate::host::Machine;
use crate::mesh::Mesh;
use crate::pin::{self, PinError};
use crate::{CoreId, Exit};

/// While the cores start, they are asked this often whether to stop.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// What the threads of a node are made from.
pub struct Plan {
    /// The CPU of each core.
    pub cpus: Vec<usize>,
    /// A bound socket for each core, of the port that they share.
    pub sockets: Vec<OwnedFd>,
    /// The same, of a port of its own; empty: no core has one.
    pub own_sockets: Vec<OwnedFd>,
    /// The data directory; `None` for machines without a disk.
    pub data_dir: Option<PathBuf>,
    /// Sizes of each host.
    pub options: UringOptions,
    /// Connections of the node, at most.
    pub clients_max: usize,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError<E> {
    /// A thread cannot be pinned.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A ring cannot be had.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The machine of a core cannot be opened.
    #[error(transparent)]
    Machine(E),
    /// Somebody wanted it to stop before it was ready.
    #[error("it was asked to stop before it was ready")]
    Stopped,
    /// Something of the system.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        cause: std::io::Error,
    },
}

fn system<E>(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> StartError<E> {
    let what = what.into();
    move |cause| StartError::System { what, cause }
}

/// What a core's machine is opened with, on its thread.
pub struct Opening<'a> {
    /// The core.
    pub core: CoreId,
    /// Its host, to drive the disk with.
    pub host: &'a mut Uring,
    /// Its disk.
    pub disk: Disk,
}

/// The running cores of a node.
pub struct Cores {
    threads: Vec<JoinHandle<Exit>>,
    siblings: Arc<Siblings>,
    ended: Arc<OwnedFd>,
}

impl Cores {
    /// Starts one thread per core; `open` makes the machine of each. Returns when all are ready and listen, or none is
    /// left.
    pub fn start<M, E, F>(plan: Plan, open: F) -> Result<Self, StartError<E>>
    where
        M: Machine,
        E: Send + 'static,
        F: Fn(Opening<'_>) -> Result<M, E> + Send + Sync + 'static,
    {
        Self::start_unless(plan, &mut || false, open)
    }

    /// The same, unless `stop` says while it lasts that all shall end. Those that are not open by then are not waited for:
    /// as in a crash, what they have not acknowledged is nobody's.
    pub fn start_unless<M, E, F>(
        plan: Plan,
        stop: &mut dyn FnMut() -> bool,
        open: F,
    ) -> Result<Self, StartError<E>>
    where
        M: Machine,
        E: Send + 'static,
        F: Fn(Opening<'_>) -> Result<M, E> + Send + Sync + 'static,
    {
        let Plan { cpus, sockets, own_sockets, data_dir, mut options, clients_max } = plan;
        assert_eq!(cpus.len(), sockets.len(), "one socket per core");
        assert!(
            own_sockets.is_empty() || own_sockets.len() == cpus.len(),
            "every core has a port, or none has"
        );
        pin::check(&cpus)?;
        options.worker_cpus = pin::left_over(&cpus);
        let meshes = Mesh::of(cpus.len());
        let parking = meshes.first().map(Mesh::parking).expect("a node has at least one core");
        let siblings =
            Siblings::new(parking, clients_max).map_err(system("an event descriptor cannot be made"))?;
        let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(std::io::Error::from);
        let ended = Arc::new(ended.map_err(system("an event descriptor cannot be made"))?);
        let (report, reports) = channel();
        let mut cores = Self { threads: Vec::new(), siblings: siblings.clone(), ended: ended.clone() };
        let mut gates = Vec::new();
        let handles =
            sockets.iter().chain(&own_sockets).map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
        let handles = handles.map_err(system("a socket cannot be duplicated"))?;
        let open = Arc::new(open);
        let mut own_sockets = own_sockets.into_iter();
        for ((mesh, cpu), socket) in meshes.into_iter().zip(cpus).zip(sockets) {
            let own = own_sockets.next().map(|socket| (socket, Placing::Here));
            let sockets = [(socket, Placing::Spread)].into_iter().chain(own).collect();
            let (go, gate) = channel();
            let seed = Seed {
                cpu,
                mesh,
                sockets,
                data_dir: data_dir.clone(),
                options: options.clone(),
                siblings: siblings.clone(),
            };
            let (report, open, bell) = (report.clone(), open.clone(), EndBell(ended.clone()));
            let body = move || {
                let exit = seed.live(&report, &gate, &*open);
                drop(bell);
                exit
            };
            let name = format!("pinion-{}", gates.len());
            let thread = std::thread::Builder::new().name(name).spawn(body);
            cores.threads.push(thread.map_err(system("a thread cannot be started"))?);
            gates.push(go);
        }
        drop(report);
        cores.await_ready(&reports, &gates, stop)?;
        if let Err(error) = super::listener::listen(&handles) {
            siblings.stop();
            return Err(system("a socket cannot be listened on")(error));
        }
        siblings.open();
        Ok(cores)
    }

    /// Waits until all are open, lets them run, waits until all are ready. On an error of one, all end.
    fn await_ready<E>(
        &mut self,
        reports: &Receiver<Result<(), StartError<E>>>,
        gates: &[Sender<()>],
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<(), StartError<E>> {
        for step in 0..2 {
            for _ in 0..gates.len() {
                if let Err(error) = next_report(reports, stop) {
                    self.siblings.stop();
                    return Err(error);
                }
            }
            if step == 0 {
                for gate in gates {
                    gate.send(()).expect("a core that is open waits at its gate");
                }
            }
        }
        Ok(())
    }

    /// Asks all cores to stop; they answer what is in flight first.
    pub fn stop(&self) {
        self.siblings.stop();
    }

    /// What the cores share.
    #[must_use]
    pub const fn siblings(&self) -> &Arc<Siblings> {
        &self.siblings
    }

    /// How many cores there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.threads.len()
    }

    /// Takes the news: how many cores have ended since the last call.
    #[must_use]
    pub fn take_ended(&self) -> usize {
        let mut count = [0; 8];
        let read = rustix::io::read(&*self.ended, &mut count);
        if read.is_ok() { usize::try_from(u64::from_ne_bytes(count)).expect("few cores") } else { 0 }
    }

    /// Becomes readable when a core has ended, for whatever reason.
    #[must_use]
    pub fn ended(&self) -> &OwnedFd {
        &self.ended
    }

    /// Waits for all cores and tells how they ended, by core.
    ///
    /// # Panics
    /// When a core panicked.
    #[must_use]
    pub fn join(self) -> Vec<Exit> {
        self.threads.into_iter().map(|thread| thread.join().expect("a core panicked")).collect()
    }
}

/// The next report of a core, unless `stop` says not to wait for it.
fn next_report<E>(
    reports: &Receiver<Result<(), StartError<E>>>,
    stop: &mut dyn FnMut() -> bool,
) -> Result<(), StartError<E>> {
    loop {
        match reports.recv_timeout(ASKED_EVERY) {
            Ok(report) => return report,
            Err(RecvTimeoutError::Timeout) if stop() => return Err(StartError::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                panic!("a core ended while it was started, without a reason")
            }
        }
    }
}

/// Rung when a core's thread ends, by return or by panic.
struct EndBell(Arc<OwnedFd>);

impl Drop for EndBell {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure; the joining thread sees the end itself.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// What one thread starts with.
struct Seed {
    cpu: usize,
    mesh: Mesh,
    sockets: Doors,
    data_dir: Option<PathBuf>,
    options: UringOptions,
    siblings: Arc<Siblings>,
}

impl Seed {
    fn live<M: Machine, E>(
        self,
        report: &Sender<Result<(), StartError<E>>>,
        gate: &Receiver<()>,
        open: &dyn Fn(Opening<'_>) -> Result<M, E>,
    ) -> Exit {
        let (mut host, mut machine, sockets) = match self.open(open) {
            Ok(opened) => opened,
            Err(error) => {
                let _ = report.send(Err(error));
                return Exit::Stopped;
            }
        };
        let _ = report.send(Ok(()));
        if gate.recv().is_err() {
            return Exit::Stopped;
        }
        let mut is_ready = false;
        let exit = host.run(&mut machine, sockets, || {
            is_ready = true;
            let _ = report.send(Ok(()));
        });
        if !is_ready {
            // Whoever waits for this core shall wait no longer: it has ended, and its exit says why.
            let _ = report.send(Ok(()));
        }
        exit
    }

    fn open<M: Machine, E>(
        self,
        open: &dyn Fn(Opening<'_>) -> Result<M, E>,
    ) -> Result<(Uring, M, Doors), StartError<E>> {
        let Self { cpu, mesh, sockets, data_dir, options, siblings } = self;
        pin::pin(cpu)?;
        let data_dir = data_dir.as_ref().map(|dir| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(dir, flags, Mode::empty()).map_err(std::io::Error::from);
            opened.map_err(system(format!("the data directory {} cannot be opened", dir.display())))
        });
        let (core, disk) = (mesh.core(), Disk::new());
        let setup = Setup { options, data_dir: data_dir.transpose()?, disk: disk.clone(), mesh, siblings };
        let mut host = Uring::new(setup)?;
        let machine = open(Opening { core, host: &mut host, disk }).map_err(StartError::Machine)?;
        Ok((host, machine, sockets))
    }
}

/// Guards the tests and tools that start nodes in one process from pinning two to one CPU at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Starts the echo machine on these CPUs and runs until `until` returns; answers what that answers. For tests, and for
/// comparing hosts without a database in the way.
pub fn with_echo<T>(
    address: std::net::SocketAddr,
    cpus: Vec<usize>,
    until: impl FnOnce(std::net::SocketAddr, &Siblings) -> T,
) -> Result<T, String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (sockets, address) = super::bind(address, cpus.len()).map_err(|error| error.to_string())?;
    let options = UringOptions::default();
    let plan = Plan { cpus, sockets, own_sockets: Vec::new(), data_dir: None, options, clients_max: 10_000 };
    let cores = Cores::start(plan, |_| Ok::<_, std::convert::Infallible>(crate::host::Echo::new()))
        .map_err(|error| error.to_string())?;
    let value = until(address, cores.siblings());
    cores.stop();
    let ended = cores.join();
    assert!(ended.iter().all(|exit| *exit == crate::Exit::Stopped), "an echo ends when it is asked to");
    Ok(value)
}
