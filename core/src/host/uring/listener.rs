//! The listening sockets of a core: its part of the port that all cores share, and the port of its own, if there is one.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{opcode, types};
use pinion_wal::Mono;
use rustix::event::Timespec;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::Token;
use super::ring::{Completion, Ring};
use crate::planted;

/// A client that said nothing for so long is asked whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;
/// After an accept failed (too many open files, no memory), the next is tried this much later.
const BACK_OFF_MS: u64 = 100;

/// A busy address is tried again so often …
const BUSY_TRIES: u32 = 25;
/// … with this pause.
const BUSY_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error("{address} is in use: stop the server that listens there, or choose another port with --port")]
    Busy {
        /// The address.
        address: SocketAddr,
    },
    /// It is not one of this machine's.
    #[error("{address} is not an address of this machine: choose another with --bind")]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// Not allowed.
    #[error(
        "listening on {address} is not permitted: choose a port of 1024 or above with --port, or grant CAP_NET_BIND_SERVICE"
    )]
    Forbidden {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("{address} cannot be listened on: {cause}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The reason.
        cause: std::io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::ADDRINUSE if !planted::is("error-without-remedy") => Self::Busy { address },
            rustix::io::Errno::ADDRNOTAVAIL => Self::NotOurs { address },
            rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => Self::Forbidden { address },
            other => Self::Other { address, cause: other.into() },
        }
    }
}

/// Binds one socket per core to `address`; nobody is served before [`listen`]. Until then, as afterwards, the address is
/// busy for every other server. Port 0 picks a free port, the same for all. Answers the sockets and the address they are
/// bound to.
pub fn bind(address: SocketAddr, cores: usize) -> Result<(Vec<OwnedFd>, SocketAddr), ListenError> {
    // Sockets that share a port do not notice another server of the same user that shares it too: a socket that does not
    // share asks first. Who connects to it in that moment is sent away.
    let alone = listening_alone(address).map_err(|errno| ListenError::new(address, errno))?;
    let address = rustix::net::getsockname(&alone)
        .and_then(SocketAddr::try_from)
        .map_err(|errno| ListenError::new(address, errno))?;
    drop(alone);
    let sockets = (0..cores).map(|_| bound_for_later(address)).collect::<Result<_, _>>();
    Ok((sockets.map_err(|errno| ListenError::new(address, errno))?, address))
}

/// A socket that shares its address with those of the other cores. It is bound although connections of a server that ended
/// are not quite over. Then it gives up reusing the address: a bound socket that nobody listens on yet is overlooked by
/// another server that reuses it, and both would serve on one port.
fn bound_for_later(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = bound(address, true)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

/// A socket that shares its address with nobody. The sockets of a process that was killed close a moment after it is gone,
/// because its ring is torn down behind it: so a busy address is tried again for a while.
fn listening_alone(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let listening = || {
        let alone = bound(address, false)?;
        rustix::net::listen(&alone, 1)?;
        Ok(alone)
    };
    for _ in 0..BUSY_TRIES {
        match listening() {
            Err(rustix::io::Errno::ADDRINUSE) => rustix::event::poll(&mut [], Some(&BUSY_PAUSE)).map(drop)?,
            other => return other,
        }
    }
    listening()
}

/// Lets clients connect to sockets of [`bind`]. They wait until they are accepted.
pub fn listen(sockets: &[OwnedFd]) -> std::io::Result<()> {
    for socket in sockets {
        // Accepted connections inherit it: those that are left behind shall not keep the next server from its port.
        sockopt::set_socket_reuseaddr(socket, true)?;
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok(())
}

fn bound(address: SocketAddr, shared: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    // Accepted connections inherit these.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Which core has the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// One that has few: the port says nothing.
    Spread,
    /// This one: the client chose it by the port.
    Here,
}

/// The sockets of a core, each of [`bind`].
pub type Doors = Vec<(OwnedFd, Placing)>;

/// A listening socket on the ring.
pub struct Listener {
    socket: OwnedFd,
    /// Which one of the core's it is.
    number: u32,
    placing: Placing,
    armed: bool,
    retry_at: Option<Mono>,
    stopped: bool,
}

/// What an accept brought.
pub enum Accepted {
    /// A connection.
    Socket(OwnedFd),
    /// Nothing: it was stopped, or failed and will be tried again.
    Nothing,
}

impl Listener {
    /// Accepts the clients of a socket that is listened on, as number `number` of its core.
    pub fn start(socket: OwnedFd, number: u32, placing: Placing, ring: &mut Ring) -> Self {
        let mut listener = Self { socket, number, placing, armed: false, retry_at: None, stopped: false };
        listener.arm(ring);
        listener
    }

    /// Which core has its connections.
    pub const fn placing(&self) -> Placing {
        self.placing
    }

    /// Accepts no more. Who is in the backlog is refused when the socket is dropped.
    pub fn stop(&mut self, ring: &mut Ring) {
        if !std::mem::replace(&mut self.stopped, true) && self.armed {
            super::ring::cancel(ring, Token::accept(self.number));
        }
    }

    /// An accept has completed.
    pub fn accepted(&mut self, completion: Completion, now: Mono, ring: &mut Ring) -> Accepted {
        self.armed = completion.more();
        let accepted = match completion.result {
            socket @ 0.. => Accepted::Socket(super::ring::take_descriptor(socket)),
            error => {
                let peer_left =
                    matches!(-error, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPROTO);
                if !peer_left {
                    self.retry_at = Some(now.plus_millis(BACK_OFF_MS));
                }
                Accepted::Nothing
            }
        };
        if self.retry_at.is_none() {
            self.arm(ring);
        }
        accepted
    }

    /// Tries again after a failure when it is time; answers when that will be.
    pub fn retry(&mut self, now: Mono, ring: &mut Ring) -> Option<Mono> {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.arm(ring);
        }
        self.retry_at
    }

    fn arm(&mut self, ring: &mut Ring) {
        if !self.armed && !self.stopped {
            self.armed = true;
            let entry = opcode::AcceptMulti::new(types::Fd(self.socket.as_raw_fd()))
                .flags(libc::SOCK_CLOEXEC)
                .build();
            super::ring::push_without_memory(ring, &entry, Token::accept(self.number));
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "this test is a client")]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::super::ring::Wait;
    use super::*;

    /// O7: a server that is still starting holds its address as one that serves does; when it has ended, the next one has it
    /// at once, although connections of it are not quite over.
    #[test]
    fn an_address_has_one_server() {
        let (sockets, address) = bind((Ipv4Addr::LOCALHOST, 0).into(), 2).expect("loopback can be bound");
        assert!(matches!(bind(address, 1), Err(ListenError::Busy { .. })), "nobody listens yet");
        listen(&sockets).expect("bound sockets can be listened on");
        assert!(matches!(bind(address, 1), Err(ListenError::Busy { .. })), "both would listen");
        let clients = [(); 20].map(|()| TcpStream::connect(address).expect("somebody listens"));
        let mut ready: Vec<_> = sockets
            .iter()
            .map(|socket| rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN))
            .collect();
        rustix::event::poll(&mut ready, None).expect("waiting works");
        let served = ready.iter().zip(&sockets).find(|(ready, _)| !ready.revents().is_empty());
        let (_, socket) = served.expect("a client has come");
        // The server closes first: its end of the connection stays for a while.
        drop(rustix::net::accept(socket).expect("it waits there"));
        drop(sockets);
        drop(clients);
        let (sockets, _) = bind(address, 2).expect("nobody listens any more");
        listen(&sockets).expect("bound sockets can be listened on");
    }

    /// O5: an accept that failed is tried again after a pause, neither at once (the core would spin) nor never.
    #[test]
    fn an_accept_that_failed_is_tried_again_later() {
        let mut ring = Ring::new().expect("this kernel has what the host needs");
        let next = |ring: &mut Ring| {
            ring.enter(Wait::Forever).expect("entering works");
            ring.next().expect("one completion")
        };
        let (mut sockets, address) = bind((Ipv4Addr::LOCALHOST, 0).into(), 1).expect("loopback can be bound");
        // Nobody listens on the socket yet: every accept fails.
        let mut listener = Listener::start(sockets.remove(0), 0, Placing::Spread, &mut ring);
        let mut now = Mono(1_000_000_000);
        for _ in 0..3 {
            let completion = next(&mut ring);
            assert!(matches!(listener.accepted(completion, now, &mut ring), Accepted::Nothing));
            let due = now.plus_millis(BACK_OFF_MS);
            assert_eq!(listener.retry(now, &mut ring), Some(due));
            ring.enter(Wait::Nanos(1_000_000)).expect("entering works");
            assert!(ring.next().is_none(), "tried again before its time");
            now = due;
            assert_eq!(listener.retry(now, &mut ring), None);
        }
        let completion = next(&mut ring);
        assert!(matches!(listener.accepted(completion, now, &mut ring), Accepted::Nothing));
        rustix::net::listen(&listener.socket, 1).expect("a bound socket can be listened on");
        assert_eq!(listener.retry(now.plus_millis(BACK_OFF_MS), &mut ring), None);
        let _client = TcpStream::connect(address).expect("somebody listens");
        let completion = next(&mut ring);
        assert!(matches!(listener.accepted(completion, now, &mut ring), Accepted::Socket(_)));
    }
}
