//! Where one record ends and the next begins in a stream of bytes.
//!
//! A record in the ring holds the very bytes of the input, its terminator included. Therefore `recv`
//! writes records back to back and needs to know nothing of how `send` cut them, and a last line
//! without a newline comes out without one. Length-prefixed input is the exception: the prefix
//! travels as the record's own length, and `recv --len-prefixed` writes it again.
//!
//! The reader holds one record and what the last read brought beyond it, never more than the
//! longest record that the ring takes or [`BUFFER`], whichever is greater.

use memchr::memchr;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

/// What the reader asks for at once.
const BUFFER: usize = 256 << 10;

/// How far a record that is too large is followed, only to say its length.
const MEASURED: usize = 64 << 20;

/// The bytes of a length prefix: an unsigned 32-bit number, little-endian.
pub const PREFIX: usize = size_of::<u32>();

/// How a stream is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A record ends after this byte, or at the end of the input.
    Terminated(u8),
    /// Every record has this many bytes, but for the last of an input, which may have fewer.
    Chunks(usize),
    /// Each record comes after its length.
    LenPrefixed,
}

/// Why there is no next record.
#[derive(Debug)]
pub enum FrameError {
    /// The input could not be read.
    Read(io::Error),
    /// The record is longer than the ring takes.
    TooLarge {
        /// Its length in bytes, terminator included.
        len: usize,
        /// Whether the record's end was seen; if not, it has at least `len` bytes.
        whole: bool,
        max: usize,
    },
    /// The input ended within a length-prefixed record, or within the prefix.
    Cut {
        part: &'static str,
        expected: usize,
        found: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge { len, whole, max } => {
                let least = if *whole { "" } else { "at least " };
                write!(f, "is {least}{len} bytes long, expected at most {max}")
            }
            Self::Cut {
                part,
                expected,
                found,
            } => write!(
                f,
                "is cut short: the input ends after {found} of the {expected} bytes of its {part}"
            ),
        }
    }
}

/// Cuts an input into records.
pub struct Records<R> {
    input: R,
    framing: Framing,
    /// The longest record allowed.
    max: usize,
    buffer: Vec<u8>,
    /// What was read and not yet given out.
    unread: Range<usize>,
}

impl<R: Read> Records<R> {
    /// Cuts `input` by `framing` into records of at most `max` bytes.
    pub fn new(input: R, framing: Framing, max: usize) -> Self {
        Self {
            input,
            framing,
            max,
            buffer: vec![0; BUFFER],
            unread: 0..0,
        }
    }

    /// The next record, as soon as it is complete, or `None` at the end of the input.
    ///
    /// After an error the input stands somewhere within a record.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let len = match self.framing {
            Framing::Terminated(terminator) => self.find(terminator)?,
            Framing::Chunks(size) => self.chunk(size)?,
            Framing::LenPrefixed => self.prefixed()?,
        };
        Ok(len.map(|len| {
            let record = self.unread.start..self.unread.start + len;
            self.unread.start = record.end;
            &self.buffer[record]
        }))
    }

    fn find(&mut self, terminator: u8) -> Result<Option<usize>, FrameError> {
        let end = |piece: &[u8]| memchr(terminator, piece).map(|at| at + 1);
        let mut searched = 0;
        loop {
            if let Some(at) = end(&self.buffer[self.unread.clone()][searched..]) {
                return self.fits(searched + at, true).map(Some);
            }
            searched = self.unread.len();
            if searched > self.max {
                return self.measure(end);
            }
            if !self.read_more()? {
                return Ok((searched > 0).then_some(searched));
            }
        }
    }

    fn chunk(&mut self, size: usize) -> Result<Option<usize>, FrameError> {
        let more = self.read_until(size.min(self.max.saturating_add(1)))?;
        let len = self.unread.len().min(size);
        if len > self.max {
            if self.unread.len() >= size {
                return self.fits(size, true).map(Some);
            }
            let mut missing = size - len;
            return self.measure(|piece| {
                let end = (missing <= piece.len()).then_some(missing);
                missing = missing.saturating_sub(piece.len());
                end
            });
        }
        Ok((more || len > 0).then_some(len))
    }

    fn prefixed(&mut self) -> Result<Option<usize>, FrameError> {
        if !self.read_until(PREFIX)? {
            return match self.unread.len() {
                0 => Ok(None),
                found => Err(cut("length", PREFIX, found)),
            };
        }
        let mut prefix = [0; PREFIX];
        prefix.copy_from_slice(&self.buffer[self.unread.clone()][..PREFIX]);
        self.unread.start += PREFIX;
        let len = self.fits(u32::from_le_bytes(prefix) as usize, true)?;
        match self.read_until(len)? {
            true => Ok(Some(len)),
            false => Err(cut("content", len, self.unread.len())),
        }
    }

    fn fits(&self, len: usize, whole: bool) -> Result<usize, FrameError> {
        let max = self.max;
        match len <= max {
            true => Ok(len),
            false => Err(FrameError::TooLarge { len, whole, max }),
        }
    }

    /// The error for a record that is too large, after reading on, and throwing away, to learn
    /// its length. `end` finds the record's end in the next piece.
    fn measure(
        &mut self,
        mut end: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Option<usize>, FrameError> {
        let mut len = self.unread.len();
        while len < MEASURED {
            self.unread = 0..0;
            if !self.read_more()? {
                return self.fits(len, true).map(Some);
            }
            if let Some(at) = end(&self.buffer[self.unread.clone()]) {
                return self.fits(len + at, true).map(Some);
            }
            len += self.unread.len();
        }
        self.fits(len, false).map(Some)
    }

    /// Reads until `len` bytes are there. `false`: the input ended before.
    fn read_until(&mut self, len: usize) -> Result<bool, FrameError> {
        while self.unread.len() < len {
            if !self.read_more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once, behind what is there. `false`: the input has ended.
    fn read_more(&mut self) -> Result<bool, FrameError> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        if self.unread.end == self.buffer.len() {
            if self.unread.start > 0 {
                self.buffer.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
            } else {
                let len = self.buffer.len();
                // Room for one byte too many, by which a record is known to be too large.
                let most = self.max.saturating_add(1);
                self.buffer.resize(most.min(2 * len).max(len + 1), 0);
            }
        }
        let room = &mut self.buffer[self.unread.end..];
        let count = self.input.read(room).map_err(FrameError::Read)?;
        self.unread.end += count;
        Ok(count > 0)
    }
}

fn cut(part: &'static str, expected: usize, found: usize) -> FrameError {
    FrameError::Cut {
        part,
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of 1, 2, 3, … bytes, so that every record is torn by some read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 7 + 1;
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn cut_all(input: &[u8], framing: Framing, max: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let mut records = Records::new(Trickle(input, 0), framing, max);
        let mut all = Vec::new();
        loop {
            match records.next_record() {
                Ok(Some(record)) => all.push(record.to_vec()),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error)),
            }
        }
    }

    const LINES: Framing = Framing::Terminated(b'\n');

    #[test]
    fn lines_keep_their_newlines() {
        let (records, error) = cut_all(b"one\n\nthree\r\nlast", LINES, 100);
        assert!(error.is_none());
        assert_eq!(records, [&b"one\n"[..], b"\n", b"three\r\n", b"last"]);
    }

    #[test]
    fn nul_is_a_terminator_like_any_other() {
        let (records, error) = cut_all(b"a\nb\0\0c\0", Framing::Terminated(0), 100);
        assert!(error.is_none());
        assert_eq!(records, [&b"a\nb\0"[..], b"\0", b"c\0"]);
    }

    #[test]
    fn nothing_holds_no_record() {
        for framing in [LINES, Framing::Chunks(4), Framing::LenPrefixed] {
            let (records, error) = cut_all(b"", framing, 100);
            assert!(error.is_none() && records.is_empty(), "{framing:?}");
        }
    }

    #[test]
    fn chunks_are_full_but_for_the_last() {
        let (records, error) = cut_all(b"abcdefghij", Framing::Chunks(4), 4);
        assert!(error.is_none());
        assert_eq!(records, [&b"abcd"[..], b"efgh", b"ij"]);
        let (records, error) = cut_all(b"abcdefgh", Framing::Chunks(4), 4);
        assert!(error.is_none());
        assert_eq!(records, [b"abcd", b"efgh"]);
    }

    #[test]
    fn a_chunk_that_is_too_large_says_its_own_length_and_not_the_buffers() {
        let (records, error) = cut_all(b"abcdefghijkl", Framing::Chunks(6), 4);
        assert!(records.is_empty());
        let error = error.expect("six are more than four").to_string();
        assert!(error.contains('6') && error.contains('4'), "{error}");
    }

    #[test]
    fn a_chunk_of_what_there_is_fits_although_a_full_one_would_not() {
        let (records, error) = cut_all(b"abc", Framing::Chunks(1 << 40), 4);
        assert!(error.is_none());
        assert_eq!(records, [b"abc"]);
    }

    #[test]
    fn prefixed_records_may_be_empty() {
        let (records, error) = cut_all(
            b"\x03\0\0\0abc\0\0\0\0\x01\0\0\0\n",
            Framing::LenPrefixed,
            9,
        );
        assert!(error.is_none());
        assert_eq!(records, [&b"abc"[..], b"", b"\n"]);
    }

    #[test]
    fn a_record_of_the_limit_passes() {
        let (records, error) = cut_all(b"123\n1234", LINES, 4);
        assert!(error.is_none());
        assert_eq!(records, [b"123\n", b"1234"]);
    }

    #[test]
    fn one_byte_more_is_too_large() {
        let mut long = vec![b'x'; 3 * BUFFER];
        long.extend_from_slice(b"\nafter\n");
        let prefixed = [&u32::MAX.to_le_bytes()[..], b"abc"].concat();
        for (input, framing, max, expected) in [
            (&b"123\n1234\n"[..], LINES, 4, 5),
            (b"123\n12345", LINES, 4, 5),
            (b"123\n1234567", LINES, 4, 7),
            (&long, LINES, 4, 3 * BUFFER + 1),
            (&long, LINES, 3 * BUFFER, 3 * BUFFER + 1),
            (&long, Framing::Chunks(3 * BUFFER), BUFFER, 3 * BUFFER),
            (&long, Framing::Chunks(1 << 40), BUFFER, long.len()),
            (b"12345", Framing::Chunks(5), 4, 5),
            (&prefixed, Framing::LenPrefixed, 4, u32::MAX as usize),
        ] {
            let (records, error) = cut_all(input, framing, max);
            assert!(records.iter().all(|record| record == b"123\n"));
            match error {
                Some(FrameError::TooLarge { len, whole, max: m }) => {
                    assert_eq!((len, whole, m), (expected, true, max), "{framing:?}");
                }
                other => panic!("{framing:?} of {max}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_endless_record_is_given_up_early() {
        let endless = io::repeat(b'x');
        let mut records = Records::new(endless, LINES, 1000);
        match records.next_record() {
            Err(error @ FrameError::TooLarge { .. }) => {
                assert!(error.to_string().contains("at least"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(records.buffer.len(), BUFFER);
    }

    #[test]
    fn a_cut_record_says_where() {
        let (records, error) = cut_all(b"\x01\0\0\0a\x05\0\0\0bcd", Framing::LenPrefixed, 9);
        assert_eq!(records, [b"a"]);
        let error = error.expect("cut").to_string();
        assert!(error.contains("3 of the 5 bytes of its content"), "{error}");
        let (_, error) = cut_all(b"\x01\0", Framing::LenPrefixed, 9);
        let error = error.expect("cut").to_string();
        assert!(error.contains("2 of the 4 bytes of its length"), "{error}");
    }

    #[test]
    fn long_records_pass_whole() {
        let line = [vec![b'y'; 5 * BUFFER], vec![b'\n']].concat();
        let input = [&line[..], b"z\n", &line[..]].concat();
        let (records, error) = cut_all(&input, LINES, line.len());
        assert!(error.is_none());
        assert_eq!(records, [&line[..], b"z\n", &line[..]]);
    }
}
