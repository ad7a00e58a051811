//! The rows: what both sides do, and what must hold.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::process::{Server, figures, words};
use super::{Options, Promise, Row, Side, wanted};

/// Ports of the servers, far from the usual ones.
const PINION_PORT: u16 = 17_601;
const REDIS_PORT: u16 = 17_602;
const ECHO_PORT: u16 = 17_603;
/// A run for a tail is so many times as long: one stall of the machine more or less must not decide it.
const TAIL_TIMES: f64 = 5.0;

/// Hands every wanted row to `emit`, with its servers running.
pub fn each(options: &Options, emit: &mut dyn FnMut(Row<'_>)) {
    let place = Place { options };
    place.get_rows(emit);
    place.set_rows(emit);
    place.one_client_row(emit);
    place.log_rows(emit);
    place.echo_rows(emit);
}

/// Pipeline, must, goal.
type Goal = (u32, f64, f64);

struct Place<'a> {
    options: &'a Options,
}

impl Place<'_> {
    fn program(&self, name: &str) -> PathBuf {
        self.options.programs.join(name)
    }

    fn fresh_dir(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.options.dir.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(dir)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.options.dir.join(format!("{name}.log"))
    }

    fn pinion(&self) -> Result<Server, String> {
        let dir = self.fresh_dir("pinion")?;
        let line = format!("--port {PINION_PORT} --cores 0 --memory 4GiB --data-dir {}", dir.display());
        Server::start(&self.program("pinion"), &words(&line), PINION_PORT, &self.log("pinion"))
    }

    /// `saving` is empty (memory only) or the sync policy of the append-only file.
    fn redis(&self, saving: &str) -> Result<Server, String> {
        let dir = self.fresh_dir("redis")?;
        let mut line = format!("--port {REDIS_PORT} --bind 127.0.0.1 --dir {}", dir.display());
        match saving {
            "" => line += " --appendonly no",
            policy => {
                line += &format!(" --appendonly yes --auto-aof-rewrite-percentage 0 --appendfsync {policy}")
            }
        }
        let mut arguments = words(&line);
        arguments.extend(["--save".to_owned(), String::new()]);
        Server::start(Path::new("/usr/bin/redis-server"), &arguments, REDIS_PORT, &self.log("redis"))
    }

    fn load(&self, port: u16, more: &str, figure: &str) -> Result<f64, String> {
        self.load_for(self.options.seconds, port, more, figure)
    }

    fn load_for(&self, seconds: f64, port: u16, more: &str, figure: &str) -> Result<f64, String> {
        let keys = self.options.keys;
        let line =
            format!("load --address 127.0.0.1:{port} --cpu 1 --keys {keys} --seconds {seconds} {more}");
        let found = figures(&self.program("pinion-bench"), &words(&line))?;
        if found.get("errors")? > 0.0 {
            return Err(format!("{} error replies", found.get("errors")?));
        }
        found.get(figure)
    }

    fn fill(&self, port: u16) -> Result<(), String> {
        self.load(port, "--operation fill --pipeline 64", "rate").map(drop)
    }

    /// A row of two servers that stay up while it runs.
    fn pair(
        &self,
        name: String,
        promise: Promise,
        unit: &'static str,
        load: &str,
        figure: &'static str,
        emit: &mut dyn FnMut(Row<'_>),
    ) {
        if !wanted(self.options, &name) {
            return;
        }
        let ours: Side<'_> = Box::new(|| self.load(PINION_PORT, load, figure));
        let theirs: Side<'_> = Box::new(|| self.load(REDIS_PORT, load, figure));
        emit(Row { name, unit, promise, ours, theirs });
    }

    fn get_rows(&self, emit: &mut dyn FnMut(Row<'_>)) {
        let names = ["memtable", "cache"];
        if !names.iter().any(|name| wanted(self.options, &format!("GET {name} P1 P16 P64"))) {
            return;
        }
        let started = self.pinion().and_then(|pinion| {
            let redis = self.redis("")?;
            self.fill(PINION_PORT)?;
            self.fill(REDIS_PORT)?;
            Ok((pinion, redis))
        });
        let (pinion, _redis) = match started {
            Ok(servers) => servers,
            Err(error) => return failed("GET", error, emit),
        };
        let promises = [
            ("memtable", [(1, 0.9, 1.0), (16, 1.0, 1.5), (64, 1.2, 2.5)]),
            ("cache", [(1, 0.8, 1.0), (16, 0.8, 1.3), (64, 0.9, 2.0)]),
        ];
        for (place, rows) in promises {
            if place == "cache" {
                if let Err(error) = pinion.flush() {
                    return failed("GET cache", error, emit);
                }
                // The first reads bring the blocks into the cache.
                drop(self.load(PINION_PORT, "--operation get --pipeline 64", "rate"));
            }
            for (pipeline, must, goal) in rows {
                let load = format!("--operation get --warm-up-seconds 0.3 --pipeline {pipeline}");
                let name = format!("GET {place} P{pipeline}, D0");
                self.pair(name, Promise::AtLeast(must, goal), "ops/s", &load, "rate", emit);
            }
        }
        self.cpu_row(&pinion, &_redis, emit);
    }

    /// CPU per request of both servers, shown beside the rates.
    fn cpu_row(&self, pinion: &Server, redis: &Server, emit: &mut dyn FnMut(Row<'_>)) {
        for pipeline in [1, 16, 64] {
            let name = format!("GET server CPU per request P{pipeline}");
            if !wanted(self.options, &name) {
                continue;
            }
            let side = |server: &Server| -> Result<f64, String> {
                let before = server.cpu_nanos();
                let load = format!("--operation get --pipeline {pipeline}");
                let operations = self.load(server.port, &load, "ops")?;
                Ok((server.cpu_nanos() - before) as f64 / operations / 1e3)
            };
            let (ours, theirs): (Side<'_>, Side<'_>) = (Box::new(|| side(pinion)), Box::new(|| side(redis)));
            emit(Row { name, unit: "us", promise: Promise::Shown, ours, theirs });
        }
    }

    fn set_rows(&self, emit: &mut dyn FnMut(Row<'_>)) {
        let rows: [(&str, &[Goal]); 2] =
            [("always", &[(1, 1.2, 2.0), (16, 1.5, 4.0)]), ("everysec", &[(16, 1.0, 3.0)])];
        for (policy, rows) in rows {
            let title = format!("SET durable, redis appendfsync {policy}");
            let any = rows.iter().any(|(p, ..)| wanted(self.options, &format!("{title}, P{p}")));
            let tail = format!("{title}, p99.9 open loop");
            let with_tail = policy == "always" && wanted(self.options, &tail);
            if !(any || with_tail) {
                continue;
            }
            let started = self.pinion().and_then(|pinion| Ok((pinion, self.redis(policy)?)));
            let _servers = match started {
                Ok(servers) => servers,
                Err(error) => {
                    failed(&title, error, emit);
                    continue;
                }
            };
            for (pipeline, must, goal) in rows {
                let load = format!("--operation set --warm-up-seconds 0.3 --pipeline {pipeline}");
                let name = format!("{title}, P{pipeline}");
                self.pair(name, Promise::AtLeast(*must, *goal), "ops/s", &load, "rate", emit);
            }
            if with_tail {
                self.tail_row(tail, emit);
            }
        }
    }

    /// Latency at half of the lower of both maximum rates, the same on both sides.
    fn tail_row(&self, name: String, emit: &mut dyn FnMut(Row<'_>)) {
        let most = |port| self.load(port, "--operation set", "rate");
        let rate = match (most(PINION_PORT), most(REDIS_PORT)) {
            (Ok(ours), Ok(theirs)) => ours.min(theirs) / 2.0,
            (Err(error), _) | (_, Err(error)) => return failed(&name, error, emit),
        };
        let seconds = self.options.seconds * TAIL_TIMES;
        let load = format!("--operation set --warm-up-seconds 0.3 --rate {rate:.0}");
        let name = format!("{name} at {rate:.0}/s");
        let ours: Side<'_> = Box::new(|| self.load_for(seconds, PINION_PORT, &load, "p999_us"));
        let theirs: Side<'_> = Box::new(|| self.load_for(seconds, REDIS_PORT, &load, "p999_us"));
        emit(Row { name, unit: "us", promise: Promise::AtMost(1.0, 0.5), ours, theirs });
    }

    fn our_echo(&self) -> Result<Server, String> {
        let line = format!("echo --port {ECHO_PORT} --cpu 0");
        Server::start(&self.program("pinion-bench"), &words(&line), ECHO_PORT, &self.log("echo-ours"))
    }

    fn their_echo(&self, host: &str) -> Result<Server, String> {
        let line = format!("echo --host {host} --port {REDIS_PORT} --cpu 0");
        Server::start(&self_program(), &words(&line), REDIS_PORT, &self.log(&format!("echo-{host}")))
    }

    /// The median of one client's SET against the two things it cannot do without.
    fn one_client_row(&self, emit: &mut dyn FnMut(Row<'_>)) {
        let name = String::from("SET durable, one client, median; theirs = raw RWF_DSYNC write + echo");
        if !wanted(self.options, &name) {
            return;
        }
        let started = self.pinion().and_then(|pinion| Ok((pinion, self.our_echo()?, self.fresh_dir("raw")?)));
        let (_pinion, _echo, raw) = match started {
            Ok(started) => started,
            Err(error) => return failed(&name, error, emit),
        };
        let seconds = self.options.seconds;
        let ours: Side<'_> = Box::new(|| self.load(PINION_PORT, "--operation set --connections 1", "p50_us"));
        let theirs: Side<'_> = Box::new(move || {
            let line = format!(
                "raw-ring --dir {} --batch-bytes 4096 --depth 1 --file-bytes 67108864 --seconds {seconds}",
                raw.display()
            );
            let sync = figures(&self_program(), &words(&line))?.get("p50_us")?;
            let echo = self.load(ECHO_PORT, "--operation echo --connections 1", "p50_us")?;
            Ok(sync + echo)
        });
        emit(Row { name, unit: "us", promise: Promise::AtMost(1.25, 1.08), ours, theirs });
    }

    fn log_rows(&self, emit: &mut dyn FnMut(Row<'_>)) {
        let seconds = self.options.seconds;
        let bench = self.program("pinion-bench");
        for groups in [1, 48, 1000] {
            for threads in [1, 4] {
                let name =
                    format!("log append, {groups} groups, 256 B, synced; raft-engine with {threads} threads");
                if !wanted(self.options, &name) || threads > groups {
                    continue;
                }
                let ours: Side<'_> = Box::new(|| {
                    let dir = self.fresh_dir("log-ours")?;
                    let line =
                        format!("log --dir {} --groups {groups} --seconds {seconds} --cpu 0", dir.display());
                    figures(&bench, &words(&line))?.get("rate")
                });
                let theirs: Side<'_> = Box::new(|| {
                    let dir = self.fresh_dir("log-theirs")?;
                    let line = format!(
                        "raft-log --dir {} --groups {groups} --threads {threads} --seconds {seconds}",
                        dir.display()
                    );
                    figures(&self_program(), &words(&line))?.get("rate")
                });
                emit(Row { name, unit: "entries/s", promise: Promise::AtLeast(1.2, 3.0), ours, theirs });
            }
        }
        self.bandwidth_rows(emit);
    }

    fn bandwidth_rows(&self, emit: &mut dyn FnMut(Row<'_>)) {
        let seconds = self.options.seconds;
        let bench = self.program("pinion-bench");
        for (theirs, flag, promise) in [
            ("raw ring", "", Promise::AtLeast(0.85, 0.97)),
            ("raw ring that copies each batch", " --copy", Promise::Shown),
        ] {
            let name = format!("log bandwidth, 256 KiB batches, synced, depth 4; theirs = {theirs}");
            if !wanted(self.options, &name) {
                continue;
            }
            let ours: Side<'_> = Box::new(|| {
                let dir = self.fresh_dir("log-ours")?;
                let line = format!(
                    "log --dir {} --groups 4 --entry-bytes 258048 --seconds {seconds} --cpu 0",
                    dir.display()
                );
                figures(&bench, &words(&line))?.get("mb_per_s")
            });
            let theirs: Side<'_> = Box::new(|| {
                let dir = self.fresh_dir("raw")?;
                let line = format!("raw-ring --dir {} --seconds {seconds}{flag}", dir.display());
                figures(&self_program(), &words(&line))?.get("mb_per_s")
            });
            emit(Row { name, unit: "MB/s", promise, ours, theirs });
        }
        let name = String::from("recovery of the log; theirs = sequential direct read");
        if wanted(self.options, &name) {
            let dir = self.options.dir.join("log-ours");
            let ours: Side<'_> = Box::new(|| {
                let filled = self.fresh_dir("log-ours")?;
                let line = format!(
                    "log --dir {} --groups 48 --entry-bytes 4000 --seconds {seconds} --cpu 0",
                    filled.display()
                );
                figures(&bench, &words(&line))?;
                let line = format!("log-recovery --dir {} --cpu 0", filled.display());
                figures(&bench, &words(&line))?.get("mb_per_s")
            });
            let theirs: Side<'_> = Box::new(|| {
                let line = format!("read-files --dir {}", dir.join("log-0000").display());
                figures(&self_program(), &words(&line))?.get("mb_per_s")
            });
            emit(Row { name, unit: "MB/s", promise: Promise::AtLeast(0.5, 0.9), ours, theirs });
        }
    }

    /// CPU per echoed request of our host and of others.
    fn echo_rows(&self, emit: &mut dyn FnMut(Row<'_>)) {
        for host in ["glommio", "tokio", "epoll"] {
            let title = format!("echo CPU per request, {host}");
            if ![1, 16, 64].iter().any(|p| wanted(self.options, &format!("{title}, P{p}"))) {
                continue;
            }
            let started = self.our_echo().and_then(|ours| Ok((ours, self.their_echo(host)?)));
            let (our_server, their_server) = match started {
                Ok(servers) => (RefCell::new(servers.0), RefCell::new(servers.1)),
                Err(error) => {
                    failed(&title, error, emit);
                    continue;
                }
            };
            for pipeline in [1, 16, 64] {
                let name = format!("{title}, P{pipeline}");
                if !wanted(self.options, &name) {
                    continue;
                }
                let side = |server: &RefCell<Server>| -> Result<f64, String> {
                    let server = server.borrow();
                    let before = server.cpu_nanos();
                    let load = format!("--operation echo --value-bytes 40 --pipeline {pipeline}");
                    let operations = self.load(server.port, &load, "ops")?;
                    Ok((server.cpu_nanos() - before) as f64 / operations / 1e3)
                };
                let (ours, theirs): (Side<'_>, Side<'_>) =
                    (Box::new(|| side(&our_server)), Box::new(|| side(&their_server)));
                emit(Row { name, unit: "us", promise: Promise::Shown, ours, theirs });
            }
        }
    }
}

/// This program: it holds the peers.
fn self_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("peers"))
}

/// A row that says why it could not be measured.
fn failed(name: &str, error: String, emit: &mut dyn FnMut(Row<'_>)) {
    let again = error.clone();
    let ours: Side<'_> = Box::new(move || Err(error.clone()));
    let theirs: Side<'_> = Box::new(move || Err(again.clone()));
    emit(Row { name: name.to_owned(), unit: "", promise: Promise::Shown, ours, theirs });
}
