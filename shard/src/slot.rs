//! Hash slots, exactly as Redis Cluster counts them: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.

use crate::Slot;

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16384;

const TABLES: [[u16; 256]; 8] = tables();

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes: eight bytes are folded in one step.
const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The CRC16 of `bytes` (polynomial 0x1021, start 0, not reflected).
#[must_use]
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[7][usize::from(chunk[0] ^ high)]
            ^ TABLES[6][usize::from(chunk[1] ^ low)]
            ^ TABLES[5][usize::from(chunk[2])]
            ^ TABLES[4][usize::from(chunk[3])]
            ^ TABLES[3][usize::from(chunk[4])]
            ^ TABLES[2][usize::from(chunk[5])]
            ^ TABLES[1][usize::from(chunk[6])]
            ^ TABLES[0][usize::from(chunk[7])];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

impl Slot {
    /// The slot of a key: of the bytes between its first `{` and the next `}` when there are any, else of the whole.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key).unwrap_or(key)) % SLOT_COUNT)
    }
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    // Nearly no key has one, and this search looks at many bytes at once.
    if !key.contains(&b'{') {
        return None;
    }
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` of redis-server 7.0.15 answers.
    #[test]
    fn slots_are_those_of_redis_cluster() {
        let golden: [(&[u8], u16); 9] = [
            (b"123456789", 12739),
            (b"foo", 12182),
            (b"bar", 5061),
            (b"", 0),
            (b"{user1000}.following", 3443),
            (b"user1000", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ];
        for (key, slot) in golden {
            assert_eq!(Slot::of(key), Slot(slot), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn folding_eight_bytes_equals_folding_one() {
        let mut rng = fastrand::Rng::with_seed(7);
        for len in 0..64 {
            let bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            let slow = bytes
                .iter()
                .fold(0u16, |crc, &byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]);
            assert_eq!(crc16(&bytes), slow);
        }
    }
}
