//! A server in this process that answers as a test says, so that what the load makes of it is known.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A request with its arguments.
pub type Request = Vec<Vec<u8>>;

/// What the server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends these bytes.
    Say(Vec<u8>),
    /// The same, after a silence that holds up everything behind it.
    Stall(Duration, Vec<u8>),
    /// Ends the connection.
    Close,
}

impl Act {
    /// Says a line of the protocol, without its end.
    pub fn line(text: impl AsRef<str>) -> Self {
        Self::Say(format!("{}\r\n", text.as_ref()).into_bytes())
    }
}

/// Serves any number of connections while `client` runs, each request of all of them answered by `act`.
pub fn serve<T>(act: impl FnMut(&Request) -> Act + Send, client: impl FnOnce(SocketAddr) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    serve_on(&listener, act, client)
}

/// The same, where the address must be known before the answers are.
pub fn serve_on<T>(
    listener: &TcpListener,
    act: impl FnMut(&Request) -> Act + Send,
    client: impl FnOnce(SocketAddr) -> T,
) -> T {
    let address = listener.local_addr().expect("it is bound");
    let (over, act) = (AtomicBool::new(false), Mutex::new(act));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok((socket, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                scope.spawn(|| converse(socket, &act));
            }
        });
        let outcome = client(address);
        over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(address));
        outcome
    })
}

fn converse(mut socket: TcpStream, act: &Mutex<impl FnMut(&Request) -> Act>) {
    let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        input.extend_from_slice(&buffer[..read]);
        while let Some((request, length)) = request(&input) {
            input.drain(..length);
            let act = act.lock().expect("no test panics while it answers")(&request);
            let text = match act {
                Act::Close => return,
                Act::Say(text) => text,
                Act::Stall(pause, text) => {
                    let end = Instant::now() + pause;
                    while Instant::now() < end {
                        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
                    }
                    text
                }
            };
            if socket.write_all(&text).is_err() {
                return;
            }
        }
    }
}

/// The first whole request and its length.
pub fn request(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut at = 0;
    let line = |at: &mut usize| -> Option<usize> {
        let end = *at + bytes[*at..].iter().position(|&b| b == b'\n')?;
        let number = std::str::from_utf8(&bytes[*at + 1..end - 1]).ok()?.parse().ok();
        *at = end + 1;
        number
    };
    let arguments = line(&mut at)?;
    let mut request = Vec::new();
    for _ in 0..arguments {
        let length = line(&mut at)?;
        request.push(bytes.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    (at <= bytes.len()).then_some((request, at))
}
