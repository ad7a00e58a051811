//! From a name to its row in the table, without allocation: the name is folded into one integer, whose hash is perfect.

use super::table::{COUNT, Spec, TABLE};

/// Longest name of a command.
const NAME_BYTES_MAX: usize = 15;
/// Places of the hash table. A place holds at most one command.
const PLACES: usize = 1024;
const FREE: u8 = u8::MAX;

/// A command: its row in the [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u8);

impl CommandId {
    /// The command of this name, in small letters, if there is one; for constants.
    pub const fn named(name: &str) -> Option<CommandId> {
        let folded = fold_const(name.as_bytes());
        let mut id = 0;
        while id < COUNT {
            if NAMES[id] == folded {
                return Some(CommandId(id as u8));
            }
            id += 1;
        }
        None
    }

    /// Its row.
    #[inline]
    pub fn spec(self) -> &'static Spec {
        &TABLE[self.0 as usize]
    }

    /// Its place in the table.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether this is its name, in small letters.
    pub fn is(self, name: &str) -> bool {
        self.spec().name == name
    }

    /// Whether its typed reply Ok is shown as 1, and Nil as 0.
    #[inline]
    pub fn answers_one_or_zero(self) -> bool {
        const SETNX: CommandId = CommandId::named("setnx").expect("it is in the table");
        self == SETNX
    }
}

/// The command of this name, in small or capital letters.
#[inline]
pub fn lookup(name: &[u8]) -> Option<CommandId> {
    let folded = fold(name)?;
    let id = INDEX[place(folded, MULTIPLIER)];
    (id != FREE && NAMES[id as usize] == folded).then_some(CommandId(id))
}

/// A name as an integer. Names in the table are letters, and letters are all that becomes these letters.
#[inline]
fn fold(name: &[u8]) -> Option<u128> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    Some(folded(packed(name), name.len()))
}

/// The bytes as a little-endian integer. Loads that overlap: a copy of any length would be a call.
#[inline]
fn packed(name: &[u8]) -> u128 {
    let len = name.len();
    match len {
        0 => 0,
        1..=3 => {
            let (middle, last) = (len / 2, len - 1);
            u128::from(name[0])
                | u128::from(name[middle]) << (8 * middle)
                | u128::from(name[last]) << (8 * last)
        }
        4..=7 => {
            let (low, high) = (name.first_chunk::<4>(), name.last_chunk::<4>());
            let [low, high] =
                [low, high].map(|four| u128::from(u32::from_le_bytes(*four.expect("four bytes"))));
            low | high << (8 * (len - 4))
        }
        _ => {
            let (low, high) = (name.first_chunk::<8>(), name.last_chunk::<8>());
            let [low, high] =
                [low, high].map(|eight| u128::from(u64::from_le_bytes(*eight.expect("eight bytes"))));
            low | high << (8 * (len - 8))
        }
    }
}

const fn folded(packed: u128, len: usize) -> u128 {
    const SMALL: u128 = u128::from_le_bytes([0x20; NAME_BYTES_MAX + 1]);
    (packed | SMALL) ^ (len as u128) << 120
}

const fn fold_const(name: &[u8]) -> u128 {
    assert!(name.len() <= NAME_BYTES_MAX, "a name of the table is too long");
    let mut bytes = [0; NAME_BYTES_MAX + 1];
    let mut at = 0;
    while at < name.len() {
        assert!(name[at].is_ascii_lowercase(), "a name of the table is made of small letters");
        bytes[at] = name[at];
        at += 1;
    }
    folded(u128::from_le_bytes(bytes), name.len())
}

const fn place(folded: u128, multiplier: u64) -> usize {
    let mixed = (folded as u64 ^ (folded >> 64) as u64).wrapping_mul(multiplier);
    (mixed >> (64 - PLACES.trailing_zeros())) as usize
}

static NAMES: [u128; COUNT] = names();

const fn names() -> [u128; COUNT] {
    let mut names = [0; COUNT];
    let mut id = 0;
    while id < COUNT {
        names[id] = fold_const(TABLE[id].name.as_bytes());
        id += 1;
    }
    names
}

/// The first odd multiplier, drawn from a fixed sequence, that gives every name a place of its own.
const MULTIPLIER: u64 = {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let names = names();
    while !is_perfect(&names, state) {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2);
    }
    state
};

const fn is_perfect(names: &[u128; COUNT], multiplier: u64) -> bool {
    let mut taken = [false; PLACES];
    let mut id = 0;
    while id < COUNT {
        let place = place(names[id], multiplier);
        if taken[place] {
            return false;
        }
        taken[place] = true;
        id += 1;
    }
    true
}

static INDEX: [u8; PLACES] = {
    assert!(COUNT < FREE as usize);
    let names = names();
    let mut index = [FREE; PLACES];
    let mut id = 0;
    while id < COUNT {
        index[place(names[id], MULTIPLIER)] = id as u8;
        id += 1;
    }
    index
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_loads_lose_no_byte() {
        let bytes: Vec<u8> = (1..=NAME_BYTES_MAX as u8).map(|n| n.wrapping_mul(37)).collect();
        for len in 0..=NAME_BYTES_MAX {
            let plain = bytes[..len].iter().rev().fold(0u128, |packed, byte| packed << 8 | u128::from(*byte));
            assert_eq!(packed(&bytes[..len]), plain, "{len}");
        }
    }

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_else_is() {
        for (index, spec) in TABLE.iter().enumerate() {
            let upper = spec.name.to_ascii_uppercase();
            let mixed: String = spec
                .name
                .char_indices()
                .map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c })
                .collect();
            for name in [spec.name, &upper, &mixed] {
                assert_eq!(lookup(name.as_bytes()).map(CommandId::index), Some(index), "{name}");
            }
            for name in spec.name.as_bytes().iter().enumerate() {
                let mut other = spec.name.as_bytes().to_vec();
                for byte in 0..=255u8 {
                    other[name.0] = byte;
                    let expected =
                        TABLE.iter().position(|row| row.name.as_bytes().eq_ignore_ascii_case(&other));
                    assert_eq!(lookup(&other).map(CommandId::index), expected, "{}", other.escape_ascii());
                }
            }
            assert_eq!(lookup(format!("{} ", spec.name).as_bytes()), None);
            assert_eq!(lookup(format!("{}\0", spec.name).as_bytes()), None);
        }
        assert_eq!(lookup(b""), None);
        assert_eq!(lookup(&[b'a'; 16]), None);
    }
}
