//! Records out of flushes: fragments are put together, bodies are not copied unless they were split.

use bytes::Bytes;

use super::format::{Fragment, RECORD_HEADER_BYTES, RecordHeader};
use super::ids::Epoch;

/// A record and the segment in which it starts.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub header: RecordHeader,
    /// `None` for the rest of a record whose beginning was in a segment that is gone.
    pub body: Option<Bytes>,
    pub epoch: Epoch,
    /// Where its last piece begins in the records of the flush that completes it.
    pub at: usize,
}

/// Something in a valid flush that this version does not know: `offset` in its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub record: u8,
}

#[derive(Default)]
pub(super) struct Assembler {
    partial: Option<(RecordHeader, Vec<u8>, Epoch)>,
}

impl Assembler {
    /// What came before is not followed by what comes next.
    pub fn interrupt(&mut self) {
        self.partial = None;
    }

    /// Whether the last record is not complete yet.
    pub const fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Calls `with` for every record that ends in this flush.
    pub fn feed(
        &mut self,
        payload: &Bytes,
        epoch: Epoch,
        mut with: impl FnMut(Record),
    ) -> Result<(), Unknown> {
        let mut at = 0;
        while at + RECORD_HEADER_BYTES <= payload.len() {
            let bytes: &[u8; RECORD_HEADER_BYTES] =
                payload[at..at + RECORD_HEADER_BYTES].try_into().expect("that many bytes");
            let begin = at;
            let header = RecordHeader::decode(bytes).ok_or(Unknown { record: bytes[4] })?;
            at += RECORD_HEADER_BYTES;
            let end = at + header.bytes as usize;
            if end > payload.len() {
                return Err(Unknown { record: header.record as u8 });
            }
            let piece = payload.slice(at..end);
            at = end;
            if let Some(record) = self.piece(header, piece, epoch, begin) {
                with(record);
            }
        }
        Ok(())
    }

    fn piece(&mut self, header: RecordHeader, piece: Bytes, epoch: Epoch, at: usize) -> Option<Record> {
        match header.fragment {
            Fragment::Full => Some(Record { header, body: Some(piece), epoch, at }),
            Fragment::First => {
                self.partial = Some((header, piece.to_vec(), epoch));
                None
            }
            Fragment::Middle | Fragment::Last => {
                let Some((first, body, _)) = self.partial.as_mut() else {
                    let ends = header.fragment == Fragment::Last;
                    return ends.then_some(Record { header, body: None, epoch, at });
                };
                let same = (first.group, first.sequence, first.record)
                    == (header.group, header.sequence, header.record);
                if !same {
                    self.partial = None;
                    return None;
                }
                body.extend_from_slice(&piece);
                if header.fragment == Fragment::Middle {
                    return None;
                }
                let (header, body, epoch) = self.partial.take()?;
                Some(Record { header, body: Some(Bytes::from(body)), epoch, at })
            }
        }
    }
}
