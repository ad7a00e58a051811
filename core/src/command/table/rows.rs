//! The rows of the table, family by family.

mod bitmap;
mod cluster;
mod connection;
mod generic;
mod server;
mod string;

use super::{EMPTY, Spec};

/// In the order of the table.
const FAMILIES: [&[Spec]; 6] =
    [string::ROWS, bitmap::ROWS, generic::ROWS, connection::ROWS, server::ROWS, cluster::ROWS];

/// Count of commands, subcommands not included.
pub const COUNT: usize = {
    let mut count = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

/// Every command there is. Its place here is its number.
pub static TABLE: [Spec; COUNT] = {
    let mut table = [EMPTY; COUNT];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            table[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    table
};
