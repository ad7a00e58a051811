//! Connections on the ring: accepting, receiving into the slab, sending in order, closing.
//!
//! A connection has at most one send in the kernel; what is sent meanwhile waits in order. Its socket is closed when
//! nothing of it is in the kernel any more, so that no completion ever meets a later connection in its slot.
#![expect(unsafe_code, reason = "the kernel reads what is sent, and writes what is asked")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use io_uring::{opcode, types};
use pinion_wal::Mono;

use super::ring::{Completion, RECEIVE_GROUP, Ring};
use super::{Token, TokenKind};
use crate::{ConnId, Event, Inbox, Outbox, ReceiveEnd};

/// A closed connection whose peer does not take what is left is dropped after this time, in milliseconds.
pub const LINGER_MS: u64 = 5_000;

/// Bytes that are given to the kernel at once: a client that takes them shows that it reads.
const SEND_BYTES_MAX: usize = 256 << 10;

/// The connections of one core.
#[derive(Default)]
pub struct Net {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Connections that could not receive for want of buffers: armed again once buffers are back.
    starved: Vec<ConnId>,
    /// Closing connections with bytes left, by the time they were asked to close.
    lingering: VecDeque<(Mono, ConnId)>,
    /// Connections that were broken because their clients take nothing, until it is told.
    broken: Vec<ConnId>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

struct Conn {
    socket: OwnedFd,
    receive: Receive,
    /// The machine wants to receive.
    wanted: bool,
    /// The end of receiving was reported.
    ended: bool,
    sending: Option<Sending>,
    queue: VecDeque<Vec<u8>>,
    broken: bool,
    /// Bytes that its client had taken when that was last asked.
    taken_bytes: u64,
    close: Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Off,
    Armed,
    Cancelling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Not asked for.
    No,
    /// Asked for: what is queued leaves first.
    Draining,
    /// The socket is on its way to being closed.
    InKernel,
}

struct Sending {
    buffer: Vec<u8>,
    done: usize,
}

impl Net {
    /// Connections that are not closed.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes over a connected socket: reports it and receives from it. A socket that is dead already is dropped.
    pub fn open(&mut self, socket: OwnedFd, ring: &mut Ring, inbox: &mut Inbox) -> bool {
        let Some((peer, local)) = addresses(&socket) else { return false };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("connections are counted in 32 bits")
        });
        let place = &mut self.slots[slot as usize];
        let conn = ConnId { slot, generation: place.generation };
        place.conn = Some(Conn {
            socket,
            receive: Receive::Off,
            wanted: true,
            ended: false,
            sending: None,
            queue: VecDeque::new(),
            broken: false,
            taken_bytes: 0,
            close: Close::No,
        });
        inbox.push(Event::Accepted { conn, peer, local });
        self.arm(conn, ring);
        true
    }

    /// Queues bytes to be sent.
    pub fn send(&mut self, conn: ConnId, buffer: Vec<u8>, ring: &mut Ring, outbox: &mut Outbox) {
        let Some(state) = self.get(conn) else { return outbox.recycle(buffer) };
        assert_eq!(state.close, Close::No, "connection {conn} sends after its close");
        if state.broken {
            return outbox.recycle(buffer);
        }
        state.queue.push_back(buffer);
        self.send_next(conn, ring);
    }

    /// Stops receiving.
    pub fn pause(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        state.wanted = false;
        Self::cancel_receive(conn, state, ring);
    }

    /// Receives again.
    pub fn resume(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        state.wanted = true;
        self.arm(conn, ring);
    }

    /// Closes after what is queued was sent.
    pub fn close(&mut self, conn: ConnId, now: Mono, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        if state.close != Close::No {
            return;
        }
        state.close = Close::Draining;
        state.wanted = false;
        if state.sending.is_some() {
            self.lingering.push_back((now, conn));
        }
        self.go_on_closing(conn, ring);
    }

    /// Breaks a connection if its client has taken nothing since the last call.
    pub fn break_idle(&mut self, conn: ConnId) {
        let Some(state) = self.get(conn) else { return };
        let Some(taken_bytes) = taken_bytes(&state.socket) else { return };
        let before = std::mem::replace(&mut state.taken_bytes, taken_bytes);
        if before != taken_bytes || state.sending.is_none() || state.broken || state.close != Close::No {
            return;
        }
        state.broken = true;
        state.queue.clear();
        // The send in the kernel fails.
        let _ = rustix::net::shutdown(&state.socket, rustix::net::Shutdown::Both);
        self.broken.push(conn);
    }

    /// Tells which connections were broken for their clients. Call it before completions are looked at.
    pub fn tell_broken(&mut self, inbox: &mut Inbox) {
        for conn in self.broken.drain(..) {
            inbox.push(Event::Broken { conn, idle: true });
        }
    }

    /// Starts to close every connection.
    pub fn close_all(&mut self, now: Mono, ring: &mut Ring) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].conn.is_some() {
                let generation = self.slots[slot].generation;
                let slot = u32::try_from(slot).expect("connections are counted in 32 bits");
                self.close(ConnId { slot, generation }, now, ring);
            }
        }
    }

    /// Cuts closing connections whose peers did not take what was left, and answers when the next is due.
    pub fn cut_lingering(&mut self, now: Mono) -> Option<Mono> {
        while let Some(&(since, conn)) = self.lingering.front() {
            let due = since.plus_millis(LINGER_MS);
            let sends = self.get(conn).is_some_and(|state| state.sending.is_some());
            if sends && now < due {
                return Some(due);
            }
            self.lingering.pop_front();
            if sends && let Some(state) = self.get(conn) {
                // The send in the kernel fails, and its completion goes on with the close. A socket that is not
                // connected any more needs no cut.
                let _ = rustix::net::shutdown(&state.socket, rustix::net::Shutdown::Both);
            }
        }
        None
    }

    /// Arms receives that had found no buffer. Call it when buffers have been lent again.
    pub fn feed_starved(&mut self, ring: &mut Ring) {
        for conn in std::mem::take(&mut self.starved) {
            self.arm(conn, ring);
        }
    }

    /// Bytes, or the end, of a connection.
    pub fn received(&mut self, completion: Completion, ring: &mut Ring, inbox: &mut Inbox) {
        let conn = self.conn_of(completion.token);
        let state = self.get(conn).expect("a connection stays until its receive has ended");
        if !completion.more() {
            state.receive = Receive::Off;
        }
        if let Some(buffer) = completion.buffer() {
            let slab = inbox.slab_mut().expect("the kernel uses buffers of the slab");
            // SAFETY: the kernel has completed the receive into this buffer and does not use it until it is lent again.
            unsafe { slab.take_back(buffer) };
            match u32::try_from(completion.result) {
                Ok(len) if len > 0 && state.close == Close::No => {
                    inbox.push_received_in_slab(conn, buffer, len)
                }
                _ => {
                    ring.lend(inbox.slab_mut().expect("it was there before"), buffer);
                }
            }
        }
        match completion.result {
            1.. => {}
            0 => Self::end_receive(conn, state, ReceiveEnd::Eof, inbox),
            error if -error == libc::ENOBUFS => self.starved.push(conn),
            error if matches!(-error, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            error => Self::end_receive(conn, state, ReceiveEnd::Failed(-error), inbox),
        }
        if completion.result != -libc::ENOBUFS {
            self.arm(conn, ring);
        }
        self.go_on_closing(conn, ring);
    }

    /// A send has ended.
    pub fn sent(&mut self, completion: Completion, ring: &mut Ring, inbox: &mut Inbox, outbox: &mut Outbox) {
        let conn = self.conn_of(completion.token);
        let state = self.get(conn).expect("a connection stays until its send has ended");
        let mut sending = state.sending.take().expect("a send completes once");
        match usize::try_from(completion.result) {
            Ok(bytes) => {
                sending.done += bytes;
                if sending.done == sending.buffer.len() {
                    if state.close == Close::No {
                        inbox.push(Event::Sent { conn, bytes: sending.done });
                    }
                    outbox.recycle(sending.buffer);
                } else {
                    if state.close == Close::No {
                        // Of a part only this is told: the client takes what it is sent.
                        inbox.push(Event::Sent { conn, bytes: 0 });
                    }
                    state.sending = Some(sending);
                    Self::push_send(conn, state, ring);
                }
            }
            Err(_) if matches!(-completion.result, libc::EINTR | libc::EAGAIN) => {
                state.sending = Some(sending);
                Self::push_send(conn, state, ring);
            }
            Err(_) => {
                state.queue.clear();
                if !std::mem::replace(&mut state.broken, true) && state.close == Close::No {
                    inbox.push(Event::Broken { conn, idle: false });
                }
            }
        }
        self.send_next(conn, ring);
        self.go_on_closing(conn, ring);
    }

    /// The kernel has closed a socket.
    pub fn closed(&mut self, completion: Completion, inbox: &mut Inbox) {
        let conn = self.conn_of(completion.token);
        let slot = &mut self.slots[conn.slot as usize];
        assert!(slot.conn.is_none(), "connection {conn} was closed and still has a socket");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(conn.slot);
        inbox.push(Event::Closed { conn });
    }

    fn get(&mut self, conn: ConnId) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        if slot.generation == conn.generation { slot.conn.as_mut() } else { None }
    }

    fn conn_of(&self, token: Token) -> ConnId {
        let conn = ConnId { slot: token.slot(), generation: self.slots[token.slot() as usize].generation };
        assert!(token.is_of(conn), "a completion came after its connection was closed");
        conn
    }

    fn end_receive(conn: ConnId, state: &mut Conn, end: ReceiveEnd, inbox: &mut Inbox) {
        if !std::mem::replace(&mut state.ended, true) && state.close == Close::No {
            inbox.push(Event::ReceiveEnded { conn, end });
        }
    }

    fn arm(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        if state.receive != Receive::Off || !state.wanted || state.ended {
            return;
        }
        state.receive = Receive::Armed;
        let entry = opcode::RecvMulti::new(types::Fd(state.socket.as_raw_fd()), RECEIVE_GROUP).build();
        super::ring::push_without_memory(ring, &entry, Token::conn(TokenKind::Receive, conn));
    }

    fn cancel_receive(conn: ConnId, state: &mut Conn, ring: &mut Ring) {
        if state.receive == Receive::Armed {
            state.receive = Receive::Cancelling;
            super::ring::cancel(ring, Token::conn(TokenKind::Receive, conn));
        }
    }

    fn send_next(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        if state.sending.is_none()
            && let Some(buffer) = state.queue.pop_front()
        {
            state.sending = Some(Sending { buffer, done: 0 });
            Self::push_send(conn, state, ring);
        }
    }

    fn push_send(conn: ConnId, state: &Conn, ring: &mut Ring) {
        let sending = state.sending.as_ref().expect("the caller has put it there");
        let end = sending.buffer.len().min(sending.done + SEND_BYTES_MAX);
        let rest = &sending.buffer[sending.done..end];
        let len = u32::try_from(rest.len()).expect("a send buffer is below 4 GiB");
        let entry = opcode::Send::new(types::Fd(state.socket.as_raw_fd()), rest.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        // SAFETY: the buffer's memory is owned by `sending`, which is neither touched nor dropped before the completion
        // (`sent` takes it; the host leaks this table if it ends earlier).
        unsafe { ring.push(&entry, Token::conn(TokenKind::Send, conn)) };
    }

    fn go_on_closing(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(state) = self.get(conn) else { return };
        if state.close != Close::Draining || state.sending.is_some() || !state.queue.is_empty() {
            return;
        }
        Self::cancel_receive(conn, state, ring);
        if state.receive != Receive::Off {
            return;
        }
        state.close = Close::InKernel;
        let state = self.slots[conn.slot as usize].conn.take().expect("it was there a line above");
        let entry = opcode::Close::new(types::Fd(state.socket.into_raw_fd())).build();
        super::ring::push_without_memory(ring, &entry, Token::conn(TokenKind::Close, conn));
    }
}

fn addresses(socket: &OwnedFd) -> Option<(SocketAddr, SocketAddr)> {
    let peer = rustix::net::getpeername(socket).ok()??;
    let local = rustix::net::getsockname(socket).ok()?;
    Some((peer.try_into().ok()?, local.try_into().ok()?))
}

/// Bytes that the other end of a connection has acknowledged, since it was made.
fn taken_bytes(socket: &OwnedFd) -> Option<u64> {
    /// Where `tcpi_bytes_acked` stands in the kernel's `tcp_info`, in words of 8 bytes.
    const BYTES_ACKED: usize = 15;
    let mut info = [0_u64; BYTES_ACKED + 1];
    let mut len = libc::socklen_t::try_from(size_of_val(&info)).expect("it is short");
    // SAFETY: the kernel writes at most `len` bytes to `info`, which has as many, and then their number to `len`.
    let result = unsafe {
        let into = (&raw mut info).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut len)
    };
    (result == 0 && len as usize == size_of_val(&info)).then_some(info[BYTES_ACKED])
}
