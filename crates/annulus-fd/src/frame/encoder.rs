//! The sender's half of a stream.

use super::{END, FIRST, GOODBYE, MORE};
use std::io::IoSlice;

/// Writes records as frames.
///
/// ```
/// use annulus_fd::frame::{Decoder, Encoder, Next};
/// use std::io::Write;
///
/// let (mut stream, mut encoder) = (vec![], Encoder::new(65536));
/// // A closure writes as much as there is room for; 0 means that there is none.
/// let sent = encoder.push(b"a record").write(|parts| stream.write_vectored(parts))?;
/// assert!(sent);
///
/// let mut decoder = Decoder::new(1 << 20, 65536);
/// decoder.fill(|buffer| std::io::Read::read(&mut &stream[..], buffer))?;
/// let mut record = vec![];
/// assert_eq!(decoder.next(&mut record)?, Next::Record);
/// assert_eq!(record, b"a record");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Encoder {
    source: Option<u32>,
    fragment: usize,
    /// What was begun and is neither finished nor given up.
    begun: Option<Begun>,
    /// Bytes of the goodbye that are written.
    farewell: usize,
}

/// A record in the middle of which there was no more room.
#[derive(Debug)]
struct Begun {
    len: usize,
    at: At,
    /// The record's bytes up to the end of the frame that is cut, or else of the last whole frame.
    copy: Vec<u8>,
}

/// How far a record has got.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    /// Bytes of the record in whole frames.
    done: usize,
    /// Bytes that are written of the frame that follows: it is cut if that is not 0.
    cut: usize,
}

impl Encoder {
    /// An encoder for a stream with one sender, with at most `fragment` bytes of a record in a frame.
    ///
    /// # Panics
    ///
    /// If `fragment` is 0 or does not fit into 31 bits.
    pub fn new(fragment: usize) -> Self {
        assert!(
            (1..GOODBYE as usize >> 1).contains(&fragment),
            "fragments of {fragment} bytes"
        );
        Self {
            source: None,
            fragment,
            begun: None,
            farewell: 0,
        }
    }

    /// An encoder for sender `source` of a tagged stream.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn tagged(fragment: usize, source: u32) -> Self {
        Self {
            source: Some(source),
            ..Self::new(fragment)
        }
    }

    /// Begins to send `record`, or goes on if it is the one that was begun before.
    pub fn push<'a>(&'a mut self, record: &'a [u8]) -> Push<'a> {
        let mut push = Push {
            at: At::default(),
            copy: vec![],
            given_up: None,
            record,
            encoder: self,
        };
        match push.encoder.begun.take() {
            Some(begun) if begun.len == record.len() && record.starts_with(&begun.copy) => {
                push.at = begun.at;
                push.copy = begun.copy;
            }
            Some(begun) if begun.at.cut > 0 => push.given_up = Some(begun),
            _ => {}
        }
        push
    }

    /// Whether a frame is cut: the stream cannot be closed in order before [`goodbye`](Self::goodbye) is through.
    pub fn is_cut(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.at.cut > 0)
    }

    /// Gives up what was begun, and says goodbye. True when all of it is written; false if there was no more room.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn goodbye<E>(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        if let Some(mut begun) = self.begun.take() {
            if !self.give_up(&mut begun, &mut write)? {
                self.begun = Some(begun);
                return Ok(false);
            }
        }
        let word = GOODBYE.to_le_bytes();
        put(&mut self.farewell, [&word, &[], &[], &[]], &mut write)
    }

    /// Completes a cut frame, so that its record does not end there.
    fn give_up<E>(
        &self,
        begun: &mut Begun,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        if begun.at.cut == 0 {
            return Ok(true);
        }
        let bytes = &begun.copy[begun.at.done..];
        self.frame(&mut begun.at, bytes, MORE, write)
    }

    /// Writes the frame of `bytes` that comes at `at`. True when it is whole.
    fn frame<E>(
        &self,
        at: &mut At,
        bytes: &[u8],
        trailer: u8,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        let first = if at.done == 0 { FIRST } else { 0 };
        let head = (bytes.len() as u32 | first).to_le_bytes();
        let source = self.source.map(u32::to_le_bytes);
        let source = source.as_ref().map_or(&[][..], |source| source);
        if !put(&mut at.cut, [&head, source, bytes, &[trailer]], write)? {
            return Ok(false);
        }
        at.done += bytes.len();
        at.cut = 0;
        Ok(true)
    }
}

/// Parts that are shorter together are written as one: copying them costs less than handing the kernel four.
const SHORT: usize = 512;

/// Writes what is left of the parts after their first `written` bytes. True when that is all.
fn put<E>(
    written: &mut usize,
    parts: [&[u8]; 4],
    write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
) -> Result<bool, E> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut short = [0; SHORT];
    let parts = match short.get_mut(..total) {
        Some(one) => {
            let mut at = 0;
            for part in parts {
                one[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            [&*one, &[], &[], &[]]
        }
        None => parts,
    };
    let count = if total <= SHORT { 1 } else { parts.len() };
    while *written < total {
        let mut skip = *written;
        let slices = parts.map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(&part[skipped..])
        });
        match write(&slices[..count])? {
            0 => return Ok(false),
            count => *written += count,
        }
    }
    Ok(true)
}

/// A record that is being sent. Dropped before it was sent whole, it counts as not sent.
///
/// ```
/// use annulus_fd::frame::Encoder;
/// use std::io::Write;
///
/// let (mut stream, mut encoder) = (vec![], Encoder::new(65536));
/// let mut room = 3;
/// let mut push = encoder.push(b"a record");
/// let mut write = |parts: &[std::io::IoSlice<'_>]| {
///     let count = room.min(parts[0].len());
///     room -= count;
///     stream.write(&parts[0][..count])
/// };
/// assert!(!push.write(&mut write)?, "no room: wait, and call again; or drop it");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is written yet"]
pub struct Push<'a> {
    encoder: &'a mut Encoder,
    record: &'a [u8],
    at: At,
    /// The copy that an earlier attempt left.
    copy: Vec<u8>,
    /// Another record, whose cut frame has to be completed first.
    given_up: Option<Begun>,
}

impl Push<'_> {
    /// Writes as much of the record as there is room for. True when all of it is written: it is sent.
    /// False if `write` said 0: there is no more room.
    ///
    /// `write` takes bytes from the parts in order, some of which may be empty, and says how many.
    ///
    /// # Errors
    ///
    /// Those of `write`. The record is not sent.
    pub fn write<E>(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        if let Some(begun) = &mut self.given_up {
            if !self.encoder.give_up(begun, &mut write)? {
                return Ok(false);
            }
            self.given_up = None;
        }
        loop {
            let end = self.end_of_frame();
            let last = end == self.record.len();
            let trailer = if last { END } else { MORE };
            let bytes = &self.record[self.at.done..end];
            let encoder = &*self.encoder;
            if !encoder.frame(&mut self.at, bytes, trailer, &mut write)? {
                return Ok(false);
            }
            if last {
                self.at = At::default();
                return Ok(true);
            }
        }
    }

    /// Where the frame ends that is written now.
    fn end_of_frame(&self) -> usize {
        let fragment = self.encoder.fragment;
        self.record.len().min(self.at.done + fragment)
    }
}

impl Drop for Push<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.given_up.take() {
            self.encoder.begun = Some(begun);
        } else if self.at.done + self.at.cut > 0 {
            let end = match self.at.cut {
                0 => self.at.done,
                _ => self.end_of_frame(),
            };
            let mut copy = std::mem::take(&mut self.copy);
            // What an earlier attempt copied may reach to the end of the frame that it cut.
            let known = copy.len().min(end);
            copy.truncate(end);
            copy.extend_from_slice(&self.record[known..end]);
            self.encoder.begun = Some(Begun {
                len: self.record.len(),
                at: self.at,
                copy,
            });
        }
    }
}
