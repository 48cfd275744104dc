//! The receiver's half of a stream.

use super::{END, FIRST, GOODBYE, MORE};
use annulus_channel::Fault;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// What [`Decoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A record, which the buffer holds.
    Record,
    /// No whole record: more has to be read.
    More,
    /// The sender has said goodbye.
    Goodbye,
}

/// Reads records out of frames, which may come in pieces, and several at once. It believes nothing: what
/// an [`Encoder`](super::Encoder) of the same sizes does not write is a fault.
///
/// ```
/// use annulus_fd::frame::{Decoder, Encoder, Next};
/// use std::io::{Read, Write};
///
/// let (mut stream, mut encoder) = (vec![], Encoder::new(65536));
/// for record in [&b"one"[..], b"", b"three"] {
///     encoder.push(record).write(|parts| stream.write_vectored(parts))?;
/// }
/// encoder.goodbye(|parts| stream.write_vectored(parts))?;
///
/// let (mut decoder, mut left, mut record) = (Decoder::new(1 << 20, 65536), &stream[..], vec![]);
/// let mut lengths = vec![];
/// loop {
///     match decoder.next(&mut record)? {
///         Next::Record => lengths.push(record.len()),
///         Next::More => assert!(decoder.fill(|buffer| left.read(buffer))? > 0),
///         Next::Goodbye => break,
///     }
/// }
/// assert_eq!(lengths, [3, 0, 5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    fragment: usize,
    tagged: bool,
    /// What was read and not looked at yet: `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    /// A record in the making of each sender that was heard of.
    records: Vec<Making>,
    /// Whose frame this is: an index of `records`.
    current: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Bytes { left: usize },
    Trailer,
    Gone,
}

#[derive(Debug)]
struct Making {
    source: u32,
    /// Whether its first frame has come, and its last one has not.
    begun: bool,
    bytes: Vec<u8>,
}

impl Decoder {
    /// A decoder for records of at most `max` bytes, in frames of at most `fragment` bytes of a record.
    pub fn new(max: usize, fragment: usize) -> Self {
        Self {
            max,
            fragment,
            tagged: false,
            buffer: vec![0; CHUNK].into(),
            start: 0,
            end: 0,
            state: State::Head,
            records: vec![],
            current: 0,
        }
    }

    /// The same for a tagged stream.
    pub fn tagged(max: usize, fragment: usize) -> Self {
        Self {
            tagged: true,
            ..Self::new(max, fragment)
        }
    }

    /// Reads once, and returns how many bytes: 0 is the end of the stream. Call it when
    /// [`next`](Self::next) wants more.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        // What is left is less than a head and a trailer.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Takes the next record out of what was read. `record` then holds it and nothing else; with any other answer it is
    /// as it was.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupt`] for a frame that no encoder writes. Nothing can be read any more: do not call it again.
    pub fn next(&mut self, record: &mut Vec<u8>) -> Result<Next, Fault> {
        loop {
            match self.state {
                State::Head => {
                    let Some(head) = self.word(0) else {
                        return Ok(Next::More);
                    };
                    if head == GOODBYE {
                        self.state = State::Gone;
                    } else if !self.head(head)? {
                        return Ok(Next::More);
                    }
                }
                State::Bytes { left: 0 } => self.state = State::Trailer,
                State::Bytes { .. } if self.start == self.end => return Ok(Next::More),
                State::Bytes { left } => {
                    let count = left.min(self.end - self.start);
                    let bytes = &self.buffer[self.start..self.start + count];
                    self.records[self.current].bytes.extend_from_slice(bytes);
                    self.start += count;
                    self.state = State::Bytes { left: left - count };
                }
                State::Trailer if self.start == self.end => return Ok(Next::More),
                State::Trailer => {
                    let trailer = self.buffer[self.start];
                    self.start += 1;
                    self.state = State::Head;
                    match trailer {
                        MORE => {}
                        END => {
                            let making = &mut self.records[self.current];
                            making.begun = false;
                            std::mem::swap(record, &mut making.bytes);
                            making.bytes.clear();
                            return Ok(Next::Record);
                        }
                        other => return Err(corrupt("trailer", other.into(), END.into())),
                    }
                }
                State::Gone => return Ok(Next::Goodbye),
            }
        }
    }

    /// The word `at` bytes into what was read, if it is there.
    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.buffer[self.start..self.end].get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }

    /// Takes a head, if all of it is there.
    fn head(&mut self, head: u32) -> Result<bool, Fault> {
        let source = match self.tagged {
            true => self.word(4),
            false => Some(0),
        };
        let Some(source) = source else {
            return Ok(false);
        };
        self.start += if self.tagged { 8 } else { 4 };
        let (first, len) = (head & FIRST != 0, (head & !FIRST) as usize);
        if len > self.fragment {
            return Err(corrupt("frame length", len as u64, self.fragment as u64));
        }
        let known = self
            .records
            .iter()
            .position(|making| making.source == source);
        self.current = known.unwrap_or_else(|| {
            self.records.push(Making {
                source,
                begun: false,
                bytes: vec![],
            });
            self.records.len() - 1
        });
        let making = &mut self.records[self.current];
        if first {
            making.bytes.clear();
            making.begun = true;
        } else if !making.begun {
            return Err(corrupt("head", head.into(), (head | FIRST).into()));
        }
        let total = making.bytes.len() + len;
        if total > self.max {
            return Err(corrupt("record length", total as u64, self.max as u64));
        }
        self.state = State::Bytes { left: len };
        Ok(true)
    }

    /// Whether the stream stands in the middle of a frame, or of a record: if it ends so, its sender was killed, or had
    /// given the record up.
    pub fn is_torn(&self) -> bool {
        let begun = self.records.iter().any(|making| making.begun);
        begun || self.start != self.end || !matches!(self.state, State::Head | State::Gone)
    }

    /// The senders of a tagged stream that were heard of and not forgotten.
    pub fn sources(&self) -> impl Iterator<Item = u32> + '_ {
        self.records.iter().map(|making| making.source)
    }

    /// Forgets senders, and what they had begun: those for which `keep` says no. For senders that will write no more; at a time
    /// when [`next`](Self::next) has asked for more.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        // A frame in pieces needs its place.
        if self.state == State::Head {
            self.records.retain(|making| keep(making.source));
        }
    }
}

fn corrupt(what: &'static str, found: u64, expected: u64) -> Fault {
    Fault::Corrupt {
        what,
        found,
        expected,
    }
}
