//! Bits of strings.

use super::super::{EMPTY, Keys, Spec};
use crate::command::parse::bits;

pub(super) const ROWS: &[Spec] = &[
    Spec {
        name: "bitop",
        arity: -4,
        flags: "write denyoom",
        categories: "@write @bitmap @slow",
        keys: Some(Keys { first: 2, last: -1, step: 1, flags: "OW update", notes: "" }),
        second_key: Some("RO access"),
        group: "bitmap",
        since: "2.6.0",
        summary: "Perform bitwise operations between strings",
        complexity: "O(N)",
        parse: bits::bitop,
        ..EMPTY
    },
    Spec {
        name: "setbit",
        arity: 4,
        flags: "write denyoom",
        categories: "@write @bitmap @slow",
        keys: Some(Keys { first: 1, last: 1, step: 1, flags: "RW access update", notes: "" }),
        group: "bitmap",
        since: "2.2.0",
        summary: "Sets or clears the bit at offset in the string value stored at key",
        complexity: "O(1)",
        parse: bits::setbit,
        ..EMPTY
    },
    Spec {
        name: "getbit",
        arity: 3,
        flags: "readonly fast",
        categories: "@read @bitmap @fast",
        keys: Some(Keys { first: 1, last: 1, step: 1, flags: "RO access", notes: "" }),
        group: "bitmap",
        since: "2.2.0",
        summary: "Returns the bit value at offset in the string value stored at key",
        complexity: "O(1)",
        parse: bits::getbit,
        ..EMPTY
    },
    Spec {
        name: "bitcount",
        arity: -2,
        flags: "readonly",
        categories: "@read @bitmap @slow",
        keys: Some(Keys { first: 1, last: 1, step: 1, flags: "RO access", notes: "" }),
        group: "bitmap",
        since: "2.6.0",
        summary: "Count set bits in a string",
        complexity: "O(N)",
        parse: bits::bitcount,
        ..EMPTY
    },
    Spec {
        name: "bitpos",
        arity: -3,
        flags: "readonly",
        categories: "@read @bitmap @slow",
        keys: Some(Keys { first: 1, last: 1, step: 1, flags: "RO access", notes: "" }),
        group: "bitmap",
        since: "2.8.7",
        summary: "Find first bit set or clear in a string",
        complexity: "O(N)",
        parse: bits::bitpos,
        ..EMPTY
    },
];
