use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};

use super::*;
use crate::config::{Given, Hardware, Live};
use crate::host::uring::{Cores, Plan, StartError, UringOptions, bind};
use crate::host::{Machine, Now};
use crate::publish::Published;
use crate::signal::StopSignals;
use crate::vitals::Vitals;
use crate::{CoreId, Event, Exit, Inbox, Outbox, pin};

/// A core that ends when it is asked to, or at once with a poison.
struct Ending {
    poison: Option<String>,
    /// What it tells, and whom.
    news: Option<(Arc<News>, &'static str)>,
}

impl Machine for Ending {
    fn turn(&mut self, _now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        if let Some((news, line)) = self.news.take() {
            news.tell(line.to_owned());
        }
        if let Some(reason) = self.poison.take() {
            outbox.finish(Exit::Poisoned(reason));
        }
        if (0..inbox.len()).any(|index| inbox.event(index) == Event::Stop) {
            outbox.finish(Exit::Stopped);
        }
    }
}

/// What the last core of a test tells.
const TOLD: &str = "group 17 refuses to serve";

/// Watches as many cores as there are CPUs, at most two; the last one tells something, and is poisoned if `poison`. Answers
/// what was said.
fn watch_cores(poison: bool, signals: u32) -> Result<Vec<String>, NodeError> {
    let test = move || {
        let stop = StopSignals::take_over().expect("signals can be taken over");
        let cpus: Vec<usize> = pin::available().into_iter().take(2).collect();
        let last = CoreId((cpus.len() - 1) as u16);
        let address = "127.0.0.1:0".parse().expect("an address");
        let (sockets, _) = bind(address, cpus.len()).expect("loopback can be bound");
        let plan = Plan {
            cpus,
            sockets,
            own_sockets: Vec::new(),
            data_dir: None,
            options: UringOptions::default(),
            clients_max: 1,
        };
        let news = Arc::new(News::new().expect("a descriptor is left"));
        let shared = news.clone();
        let cores = Cores::start(plan, move |opening| {
            let is_last = opening.core == last;
            let poison = (poison && is_last).then(|| "the disk is broken".to_owned());
            Ok::<_, Infallible>(Ending { poison, news: is_last.then(|| (shared.clone(), TOLD)) })
        });
        for _ in 0..signals {
            crate::signal::raise_here(libc::SIGTERM);
        }
        let mut said = Vec::new();
        let (cores, vitals) = (cores.expect("cores start"), Vitals::default());
        let hardware = Hardware { cpus: vec![0], memory_bytes: 8 << 30 };
        let load = || Given::default().resolve(&hardware, &|_| unreachable!("no file is named"));
        let config = load().expect("the defaults make sense");
        let mut reload = Reload::new(&load, config, Published::new(Live::default()));
        watch(&stop, &news, cores, &vitals, &mut reload, &mut |line| said.push(line.to_owned()))?;
        Ok(said)
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the signal mask belongs to a thread: this one must not stay"
    )]
    let watching = std::thread::spawn(test);
    watching.join().expect("the watch ends")
}

/// O7: and what they told until then was said.
#[test]
fn a_signal_stops_all_cores() {
    let said = watch_cores(false, 1).expect("nothing is poisoned");
    assert_eq!(said.iter().filter(|line| *line == TOLD).count(), 1, "{said:?}");
}

/// D2: a core that must not go on ends the node, with its reason.
#[test]
fn a_poisoned_core_ends_the_node_with_its_reason() {
    let error = watch_cores(true, 0).expect_err("a core is poisoned").to_string();
    assert!(error.contains("the disk is broken") && error.contains("acknowledged nothing"), "{error}");
}

/// A core that never comes to serve.
struct NeverReady(Ending);

impl Machine for NeverReady {
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        self.0.turn(now, inbox, outbox);
    }

    fn is_ready(&self) -> bool {
        false
    }
}

/// O7: a node that does not come to serve can be asked to stop, and its cores end.
#[test]
fn a_start_that_takes_for_ever_can_be_ended() {
    let address = "127.0.0.1:0".parse().expect("an address");
    let (sockets, _) = bind(address, 1).expect("loopback can be bound");
    let cpus = vec![pin::available()[0]];
    let plan = Plan {
        cpus,
        sockets,
        own_sockets: Vec::new(),
        data_dir: None,
        options: UringOptions::default(),
        clients_max: 1,
    };
    // Hung up when the last core has let go of what opens it.
    let (held, ended) = channel::<()>();
    let mut questions = 0;
    let mut stop = || {
        questions += 1;
        questions == 3
    };
    let started = Cores::start_unless(plan, &mut stop, move |_| {
        let _ended = &held;
        Ok::<_, Infallible>(NeverReady(Ending { poison: None, news: None }))
    });
    assert!(matches!(started, Err(StartError::Stopped)));
    let patience = std::time::Duration::from_secs(20);
    assert_eq!(ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected), "a core goes on for ever");
}
