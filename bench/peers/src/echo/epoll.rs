//! Echo over epoll, level-triggered: one wait, then one read and one write per ready socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use super::READ_BYTES;
use crate::Outcome;

/// Events taken at once.
const EVENTS: usize = 256;

/// Serves until killed.
pub fn serve(port: u16) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    // SAFETY: takes no memory.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    check(epoll)?;
    add(epoll, &listener, u64::MAX)?;
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    let mut buf = vec![0; READ_BYTES];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        // SAFETY: `events` has room for EVENTS events.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        check(ready)?;
        for event in &events[..ready as usize] {
            let index = event.u64;
            if index == u64::MAX {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    socket.set_nonblocking(true)?;
                    add(epoll, &socket, sockets.len() as u64)?;
                    sockets.push(Some(socket));
                }
            } else if !echo(&mut sockets[index as usize], &mut buf) {
                sockets[index as usize] = None;
            }
        }
    }
}

fn echo(socket: &mut Option<TcpStream>, buf: &mut [u8]) -> bool {
    let Some(socket) = socket else { return true };
    let bytes = match socket.read(buf) {
        Ok(0) => return false,
        Ok(bytes) => bytes,
        Err(e) => return e.kind() == ErrorKind::WouldBlock,
    };
    // The load never leaves so much unread that a socket buffer is full.
    socket.write_all(&buf[..bytes]).is_ok()
}

fn add(epoll: i32, socket: &impl AsRawFd, data: u64) -> Outcome<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: data };
    // SAFETY: both descriptors are open, and the event is read during the call only.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) })
}

fn check(result: i32) -> Outcome<()> {
    if result < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(()) }
}
