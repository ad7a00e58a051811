#![expect(
    clippy::disallowed_types,
    reason = "these tests are clients: they speak to the host over real sockets"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::pin;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn with_echo_on<T>(cores: usize, test: impl FnOnce(SocketAddr, &Siblings) -> T) -> Option<T> {
    let cpus: Vec<usize> = pin::available().into_iter().take(cores).collect();
    if cpus.len() < cores {
        eprintln!("NOT RUN: needs {cores} CPUs");
        return None;
    }
    Some(with_echo(LOOPBACK, cpus, test).expect("the host starts on this kernel"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the host listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + salt) % 251) as u8).collect()
}

#[test]
fn what_is_sent_in_pieces_comes_back_whole_and_in_order() {
    with_echo_on(1, |address, _| {
        let mut stream = connect(address);
        for len in [1, 2, 100, 4096, 16 << 10, (16 << 10) + 1, 200_000] {
            let sent = pattern(len, len);
            for piece in sent.chunks(7_001) {
                stream.write_all(piece).expect("the host reads");
            }
            let mut got = vec![0; len];
            stream.read_exact(&mut got).expect("the host echoes");
            assert!(got == sent, "{len} bytes came back changed");
        }
    });
}

#[test]
fn many_connections_on_every_core_get_their_own_bytes_and_are_spread_evenly() {
    for cores in [1, 2] {
        with_echo_on(cores, |address, siblings| {
            let mut streams: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
            for round in 0..5 {
                for (i, stream) in streams.iter_mut().enumerate() {
                    stream.write_all(&pattern(500, i + round)).expect("the host reads");
                }
                for (i, stream) in streams.iter_mut().enumerate() {
                    let mut got = vec![0; 500];
                    stream.read_exact(&mut got).expect("the host echoes");
                    assert!(got == pattern(500, i + round), "connection {i} got bytes of another");
                }
            }
            assert_eq!(siblings.clients(), 100);
            for core in 0..cores {
                let conns = siblings.conns_of(CoreId(core as u16));
                assert!(conns.abs_diff(100 / cores) <= 1, "core {core} of {cores} has {conns}");
            }
            drop(streams);
            while siblings.clients() > 0 {
                std::thread::yield_now();
            }
        });
    }
}

#[test]
fn a_client_that_stops_sending_still_gets_everything_then_the_end() {
    with_echo_on(1, |address, siblings| {
        let mut stream = connect(address);
        let sent = pattern(300_000, 1);
        let mut writer = stream.try_clone().expect("a second handle");
        let bytes = sent.clone();
        #[expect(clippy::disallowed_methods, reason = "a client that reads and writes at once")]
        let writing = std::thread::spawn(move || {
            writer.write_all(&bytes).expect("the host reads");
            writer.shutdown(Shutdown::Write).expect("the socket is open");
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("the host echoes, then closes");
        writing.join().expect("the writer ends");
        assert!(got == sent);
        while siblings.clients() > 0 {
            std::thread::yield_now();
        }
    });
}

/// O5: who does not read is not read from, and loses nothing.
#[test]
fn a_slow_reader_is_pushed_back_by_its_own_window() {
    with_echo_on(1, |address, _| {
        let mut stream = connect(address);
        stream.set_nonblocking(true).expect("a mode can be set");
        let bytes = pattern(64 << 10, 3);
        let mut sent = 0_usize;
        // Send until the host has stopped reading: nothing is taken for a while.
        loop {
            match stream.write(&bytes[sent % bytes.len()..]) {
                Ok(count) => {
                    sent += count;
                    assert!(sent < 256 << 20, "the host buffers without a bound");
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if wait_a_moment(&stream) {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        // A second client is served meanwhile.
        let mut other = connect(address);
        other.write_all(b"ping").expect("the host reads");
        let mut pong = [0; 4];
        other.read_exact(&mut pong).expect("the host echoes");
        stream.set_nonblocking(false).expect("a mode can be set");
        let mut got = vec![0; sent];
        stream.read_exact(&mut got).expect("nothing was lost");
        for (i, &byte) in got.iter().enumerate() {
            assert_eq!(byte, bytes[i % bytes.len()], "byte {i}");
        }
    });
}

/// Waits until the socket can be written, at most 300 ms; answers whether it could not.
fn wait_a_moment(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    poll(&mut polled, Some(&timeout)).expect("polling works") == 0
}

/// O5: one client too many is told so.
#[test]
fn a_client_too_many_is_refused_in_the_words_of_redis() {
    let cpus = vec![pin::available()[0]];
    let (sockets, address) = bind(LOOPBACK, 1).expect("loopback can be bound");
    let options = UringOptions::default();
    let plan = Plan { cpus, sockets, own_sockets: Vec::new(), data_dir: None, options, clients_max: 1 };
    let cores = Cores::start(plan, |_| Ok::<_, std::convert::Infallible>(crate::host::Echo::new()));
    let cores = cores.expect("the host starts on this kernel");
    let mut first = connect(address);
    first.write_all(b"x").expect("the host reads");
    first.read_exact(&mut [0]).expect("the host echoes");
    let mut text = String::new();
    connect(address).read_to_string(&mut text).expect("the host says why");
    assert_eq!(text, "-ERR max number of clients reached\r\n");
    cores.stop();
    assert_eq!(cores.join(), [Exit::Stopped]);
}

/// O7: a port that somebody listens on is named, whoever it is.
#[test]
fn a_busy_port_is_named() {
    with_echo_on(1, |address, _| {
        let error = bind(address, 1).expect_err("the host listens there");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert!(matches!(error, ListenError::Busy { .. }), "{error}");
    });
    let other = std::net::Ipv4Addr::new(203, 0, 113, 1);
    let error = bind(SocketAddr::from((other, 0)), 1).expect_err("a documentation address is nobody's");
    assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
}

#[test]
fn a_core_that_cannot_open_ends_them_all_and_nobody_could_connect() {
    let cpus = vec![pin::available()[0]];
    let (sockets, address) = bind(LOOPBACK, 1).expect("loopback can be bound");
    let options = UringOptions::default();
    let plan = Plan { cpus, sockets, own_sockets: Vec::new(), data_dir: None, options, clients_max: 1 };
    let started = Cores::start(plan, move |_| {
        assert!(TcpStream::connect(address).is_err(), "a core that is not open listens already");
        Err::<crate::host::Echo, _>("the machine is broken".to_owned())
    });
    match started {
        Err(StartError::Machine(reason)) => assert_eq!(reason, "the machine is broken"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn an_idle_host_is_woken_by_a_client_and_by_the_wish_to_stop() {
    with_echo_on(1, |address, _| {
        let mut stream = connect(address);
        for _ in 0..20 {
            stream.write_all(b"x").expect("the host reads");
            stream.read_exact(&mut [0]).expect("the host echoes");
        }
    });
}

/// Sends what its first core receives around all cores, and back to the client when it has come around.
struct Relay {
    core: CoreId,
    cores: u16,
    conn: Option<crate::ConnId>,
}

impl Machine for Relay {
    fn turn(&mut self, _now: crate::host::Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        for index in 0..inbox.len() {
            let bytes = match inbox.event(index) {
                Event::Accepted { conn, .. } => {
                    self.conn = Some(conn);
                    continue;
                }
                Event::Received { chunk, .. } => inbox.bytes(chunk),
                Event::Message { chunk, from } => {
                    assert_eq!(from.0, (self.core.0 + self.cores - 1) % self.cores);
                    let bytes = inbox.bytes(chunk);
                    if let Some(conn) = self.conn {
                        let mut buffer = outbox.buffer();
                        buffer.extend_from_slice(bytes);
                        outbox.send(conn, buffer);
                        continue;
                    }
                    bytes
                }
                Event::ReceiveEnded { conn, .. } => {
                    outbox.close(conn);
                    continue;
                }
                Event::Stop => {
                    outbox.finish(Exit::Stopped);
                    continue;
                }
                _ => continue,
            };
            let mut buffer = outbox.buffer();
            buffer.extend_from_slice(bytes);
            outbox.message(CoreId((self.core.0 + 1) % self.cores), buffer);
        }
    }
}

#[test]
fn messages_reach_sleeping_cores_over_real_rings() {
    let cpus: Vec<usize> = pin::available().into_iter().take(2).collect();
    if cpus.len() < 2 {
        return eprintln!("NOT RUN: needs 2 CPUs");
    }
    let (sockets, address) = bind(LOOPBACK, 2).expect("loopback can be bound");
    let plan = Plan {
        cpus,
        sockets,
        own_sockets: Vec::new(),
        data_dir: None,
        options: UringOptions::default(),
        clients_max: 9,
    };
    let cores = Cores::start(plan, |opening| {
        Ok::<_, std::convert::Infallible>(Relay { core: opening.core, cores: 2, conn: None })
    });
    let cores = cores.expect("the host starts on this kernel");
    let mut stream = connect(address);
    for round in 0..2_000_u32 {
        stream.write_all(&round.to_le_bytes()).expect("the host reads");
        let mut got = [0; 4];
        stream.read_exact(&mut got).expect("it comes around");
        assert_eq!(got, round.to_le_bytes());
    }
    drop(stream);
    cores.stop();
    assert_eq!(cores.join(), [Exit::Stopped, Exit::Stopped]);
}

/// Starts a machine on one core, with few receive buffers, for as long as `until` runs.
fn with_machine<M: Machine>(
    options: UringOptions,
    machine: impl Fn() -> M + Send + Sync + 'static,
    until: impl FnOnce(SocketAddr, &Siblings),
) {
    let cpus = vec![pin::available()[0]];
    let (sockets, address) = bind(LOOPBACK, 1).expect("loopback can be bound");
    let plan = Plan { cpus, sockets, own_sockets: Vec::new(), data_dir: None, options, clients_max: 100 };
    let cores = Cores::start(plan, move |_| Ok::<_, std::convert::Infallible>(machine()));
    let cores = cores.expect("the host starts on this kernel");
    until(address, cores.siblings());
    cores.stop();
    assert_eq!(cores.join(), [Exit::Stopped]);
}

/// O1: clients that find no receive buffer wait for one, and are not forgotten.
#[test]
fn clients_without_a_receive_buffer_are_served_when_there_is_one() {
    let options = UringOptions { receive_buffers: 2, receive_buffer_bytes: 64, ..UringOptions::default() };
    with_machine(options, crate::host::Echo::new, |address, _| {
        let mut streams: Vec<TcpStream> = (0..30).map(|_| connect(address)).collect();
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&pattern(3_000, i)).expect("the host reads");
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            let mut got = vec![0; 3_000];
            stream.read_exact(&mut got).expect("the host echoes");
            assert!(got == pattern(3_000, i), "connection {i} got bytes of another");
        }
    });
}

/// Answers whatever it receives with more than a socket holds, and closes.
struct Farewell;

impl Machine for Farewell {
    fn turn(&mut self, _now: crate::host::Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        for index in 0..inbox.len() {
            match inbox.event(index) {
                Event::Received { conn, .. } => {
                    outbox.send(conn, vec![7; 64 << 20]);
                    outbox.close(conn);
                }
                Event::Stop => outbox.finish(Exit::Stopped),
                _ => {}
            }
        }
    }
}

/// O1: what a closed connection still owes is kept for a while only, if its client does not take it.
#[test]
fn a_closed_connection_whose_client_takes_nothing_is_cut() {
    with_machine(
        UringOptions::default(),
        || Farewell,
        |address, siblings| {
            let mut stream = connect(address);
            stream.write_all(b"x").expect("the host reads");
            stream.peek(&mut [0]).expect("the answer begins to come");
            while siblings.clients() > 0 {
                std::thread::yield_now();
            }
            let mut got = Vec::new();
            // Reset or cut short, as the kernel likes.
            let _ = stream.read_to_end(&mut got);
            assert!(!got.is_empty() && got.len() < 64 << 20, "{} bytes", got.len());
        },
    );
}

/// Answers whatever it receives with more than a socket holds, and asks again and again whether its client takes any of it.
struct Suspicious {
    conn: Option<crate::ConnId>,
    asked: Mono,
    broken: Arc<AtomicU64>,
}

impl Machine for Suspicious {
    fn turn(&mut self, now: crate::host::Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        for index in 0..inbox.len() {
            match inbox.event(index) {
                Event::Received { conn, .. } => {
                    outbox.send(conn, vec![7; 64 << 20]);
                    (self.conn, self.asked) = (Some(conn), now.mono);
                }
                Event::Broken { conn, idle } => {
                    assert!(idle, "nothing failed by itself");
                    self.broken.fetch_add(1, Ordering::SeqCst);
                    outbox.close(conn);
                    self.conn = None;
                }
                Event::Closed { .. } => {
                    assert!(
                        now.mono < self.asked.plus_millis(LINGER_MS),
                        "its memory was kept after its end"
                    );
                }
                Event::Stop => outbox.finish(Exit::Stopped),
                _ => {}
            }
        }
        let Some(conn) = self.conn else { return };
        if now.mono >= self.asked.plus_millis(1_000) {
            self.asked = now.mono;
            outbox.break_idle(conn);
        }
        outbox.wake_at(self.asked.plus_millis(1_000));
    }
}

/// O5: a client that takes what it is sent slowly is never taken for one that takes nothing; one that does is broken off at once.
#[test]
fn a_slow_client_is_told_from_one_that_takes_nothing() {
    let broken = Arc::new(AtomicU64::new(0));
    let of_machine = broken.clone();
    let machine = move || Suspicious { conn: None, asked: Mono::default(), broken: of_machine.clone() };
    with_machine(UringOptions::default(), machine, |address, siblings| {
        let mut stream = connect(address);
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 64 << 10).expect("its size can be set");
        stream.write_all(b"x").expect("the host reads");
        // Much slower than the kernel asks for more: its send buffer becomes writable when a third of it is free.
        let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let mut piece = vec![0; 16 << 10];
        for _ in 0..150 {
            stream.read_exact(&mut piece).expect("the answer goes on");
            assert!(piece.iter().all(|&byte| byte == 7));
            rustix::event::poll(&mut [], Some(&pause)).expect("waiting works");
        }
        assert_eq!(broken.load(Ordering::SeqCst), 0, "a client that reads was broken off");
        while siblings.clients() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(broken.load(Ordering::SeqCst), 1);
    });
}
