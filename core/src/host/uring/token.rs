//! What a completion is about, in the 64 bits that the ring carries for us.

use crate::ConnId;

/// `kind` in bits 56 to 63, the low 24 bits of a generation in 32 to 55, a slot in 0 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

/// The kinds of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Nobody waits for it.
    Ignored,
    /// A connection was accepted, by the number of the listener.
    Accept,
    /// Bytes, or the end, of a connection.
    Receive,
    /// A send of a connection.
    Send,
    /// A connection's socket is closed.
    Close,
    /// Somebody rang the bell of this core.
    Bell,
    /// A disk operation, by its place in the table.
    Disk,
}

const KINDS: [TokenKind; 7] = [
    TokenKind::Ignored,
    TokenKind::Accept,
    TokenKind::Receive,
    TokenKind::Send,
    TokenKind::Close,
    TokenKind::Bell,
    TokenKind::Disk,
];

const GENERATION_MASK: u32 = 0x00ff_ffff;

impl Token {
    pub const fn plain(kind: TokenKind) -> Self {
        Self((kind as u64) << 56)
    }

    pub const fn accept(listener: u32) -> Self {
        Self(Self::plain(TokenKind::Accept).0 | listener as u64)
    }

    pub const fn disk(slot: u32) -> Self {
        Self(Self::plain(TokenKind::Disk).0 | slot as u64)
    }

    pub const fn conn(kind: TokenKind, conn: ConnId) -> Self {
        let generation = (conn.generation & GENERATION_MASK) as u64;
        Self(Self::plain(kind).0 | generation << 32 | conn.slot as u64)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub fn kind(self) -> TokenKind {
        KINDS[usize::from((self.0 >> 56) as u8)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "the slot is the low half")]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Whether this token was made for `conn`.
    pub const fn is_of(self, conn: ConnId) -> bool {
        self.slot() == conn.slot
            && (self.0 >> 32) as u32 & GENERATION_MASK == conn.generation & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_what_it_was_made_of() {
        let conn = ConnId { slot: 77, generation: 0x0100_0005 };
        for kind in KINDS {
            let token = Token::from_bits(Token::conn(kind, conn).bits());
            assert_eq!((token.kind(), token.slot()), (kind, 77));
            assert!(token.is_of(conn));
            assert!(!token.is_of(ConnId { slot: 77, generation: 6 }));
            assert!(!token.is_of(ConnId { slot: 78, ..conn }));
        }
    }
}
