//! The Redis protocol: bytes to requests, replies to bytes.
//!
//! * [`Parser`] cuts a byte stream into requests. It copies nothing: a [`Request`] is a list of spans of the receive buffer.
//! * [`Encoder`] writes replies in RESP2 or RESP3 ([`Protocol`]).
//!
//! Both follow redis-server 7.0.15 to the letter, what it does not check included: the byte after a carriage return and the
//! two bytes after a bulk are skipped unread. Differences, all of them bounds:
//!
//! | what | redis-server | here |
//! |---|---|---|
//! | arguments of one request | 2^31 - 1 | [`limits::ARGUMENTS_MAX`], same error |
//! | one argument | 512 MiB by default | [`limits::BULK_BYTES_MAX`] by default, same error |
//! | one request | 1 GiB, then closed without a word | [`limits::REQUEST_BYTES_MAX`], an error, then closed |
//! | a line without an end | refused when more than 64 KiB of it were *read* | refused beyond 64 KiB, however it was cut |

mod decimal;
mod encode;
mod error;
mod inline;
pub mod limits;
mod parse;
mod request;

pub use decimal::parse_i64;
pub use encode::{Encoder, Protocol};
pub use error::ProtocolError;
pub use limits::Limits;
pub use parse::{Next, Parser};
pub use request::{Arguments, Request};
