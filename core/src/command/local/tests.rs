//! Local commands of one connection.

use super::*;
use crate::command::{Action, resolve};
use crate::resp::{Arguments, Limits, Next, Parser};

struct Fixed {
    password: Option<&'static [u8]>,
}

impl Server for Fixed {
    fn password(&self) -> Option<&[u8]> {
        self.password
    }

    fn time_us(&self) -> u64 {
        1_700_000_000_000_007
    }

    fn set(&self, _: &[(&str, &str)]) -> Result<(), String> {
        Err("nothing changes here".to_owned())
    }

    fn settings(&self, each: &mut dyn FnMut(&str, &str)) {
        each("appendonly", "yes");
        each("maxmemory", "1024");
        each("save", "");
    }
}

struct Session {
    server: Fixed,
    client: Client,
}

impl Session {
    fn new(password: Option<&'static [u8]>) -> Session {
        let server = Fixed { password };
        Session { client: Client::new(7, &server), server }
    }

    fn ask(&mut self, line: &str) -> String {
        let (bytes, mut arguments, mut out) = (format!("{line}\r\n"), Arguments::new(), Vec::new());
        let Next::Request { request, .. } =
            Parser::new().next(bytes.as_bytes(), &mut arguments, &Limits::default())
        else {
            panic!("{line}")
        };
        match resolve(request, self.client.authenticated) {
            Ok((_, Action::Local(local))) => {
                let done = answer(local, &request, &mut self.client, &self.server, &mut out);
                assert_eq!(done == Done::Close, local == Local::Quit);
            }
            Ok(other) => panic!("{line}: {other:?}"),
            Err(error) => error.encode(&mut Encoder::new(&mut out, self.client.protocol)),
        }
        String::from_utf8(out).expect("these answers are text")
    }
}

#[test]
fn a_client_introduces_itself() {
    let mut session = Session::new(None);
    assert_eq!(session.ask("ping"), "+PONG\r\n");
    assert_eq!(session.ask("ping 'a b'"), "$3\r\na b\r\n");
    assert_eq!(session.ask("ping a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
    assert_eq!(session.ask("client id"), ":7\r\n");
    assert_eq!(session.ask("client getname"), "$-1\r\n");
    assert_eq!(session.ask("client setname me"), "+OK\r\n");
    assert_eq!(session.ask("client getname"), "$2\r\nme\r\n");
    assert!(session.ask("client setname 'a b'").starts_with("-ERR Client names cannot contain spaces"));
    assert!(session.ask("hello 3").starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    assert_eq!(session.ask("client setname ''"), "+OK\r\n");
    assert_eq!(session.ask("client getname"), "_\r\n");
    assert_eq!(session.ask("hello 4"), "-NOPROTO unsupported protocol version\r\n");
    assert!(session.ask("hello").contains("proto\r\n:3\r\n"));
    assert!(session.ask("hello 2 setname you").starts_with("*14\r\n"));
    assert_eq!(session.client.name, b"you");
    assert_eq!(session.ask("reset"), "+RESET\r\n");
    assert_eq!(session.client, Client::new(7, &session.server));
    assert_eq!(session.ask("quit now"), "+OK\r\n");
}

/// O6: a wrong password lets nobody in.
#[test]
fn passwords() {
    let mut open = Session::new(None);
    assert_eq!(open.ask("auth default whatever"), "+OK\r\n");
    assert!(open.ask("auth x").starts_with("-ERR AUTH <password> called without any password"));
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(open.ask("auth somebody x"), wrong);

    let mut session = Session::new(Some(b"secret"));
    assert_eq!(session.ask("ping"), "-NOAUTH Authentication required.\r\n");
    for line in [
        "auth secre",
        "auth secret1",
        "auth ''",
        "auth Secret",
        "auth other secret",
        "hello 3 auth default x",
    ] {
        assert_eq!(session.ask(line), wrong, "{line}");
        assert!(!session.client.authenticated);
    }
    assert!(session.ask("hello 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(session.client.protocol, Protocol::Resp2);
    assert!(session.ask("hello 3 auth default secret").starts_with("%7\r\n"));
    assert_eq!(session.ask("ping"), "+PONG\r\n");
    assert_eq!(session.ask("reset"), "+RESET\r\n");
    assert_eq!(session.ask("ping"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(session.ask("auth secret"), "+OK\r\n");
    assert_eq!(session.ask("ping"), "+PONG\r\n");
}

#[test]
fn settings_are_found_by_name_and_by_pattern() {
    let mut session = Session::new(None);
    assert_eq!(session.ask("config get save"), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    assert_eq!(session.ask("config get MAXmemory foo"), "*2\r\n$9\r\nMAXmemory\r\n$4\r\n1024\r\n");
    assert!(session.ask("config get *").starts_with("*6\r\n"));
    assert!(session.ask("config get A* max* append*").starts_with("*4\r\n"));
    assert_eq!(session.ask("config get foo"), "*0\r\n");
    let long = "*x".repeat(600);
    for command in ["config get", "config get foo", "command list filterby pattern"] {
        let refused = "-ERR pattern exceeds maximum allowed size (1024 bytes)\r\n";
        assert_eq!(session.ask(&format!("{command} {long}")), refused);
    }
}

#[test]
fn databases_and_time() {
    let mut session = Session::new(None);
    assert_eq!(session.ask("select 0"), "+OK\r\n");
    assert_eq!(session.ask("select 1"), "-ERR SELECT is not allowed in cluster mode\r\n");
    assert_eq!(session.ask("select a"), "-ERR value is not an integer or out of range\r\n");
    assert_eq!(session.ask("time"), "*2\r\n$10\r\n1700000000\r\n$1\r\n7\r\n");
}
