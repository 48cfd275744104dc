//! Every way to cut a stream.

use super::{Decoder, Encoder, Next};
use annulus_channel::Fault;
use std::convert::Infallible;
use std::io::IoSlice;

const MAX: usize = 100;
const FRAGMENT: usize = 16;

/// A stream with room for so many bytes more.
struct Stream {
    bytes: Vec<u8>,
    room: usize,
}

impl Stream {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Infallible> {
        let before = self.bytes.len();
        for part in parts {
            let count = part.len().min(self.room);
            self.bytes.extend_from_slice(&part[..count]);
            self.room -= count;
        }
        Ok(self.bytes.len() - before)
    }

    fn push(&mut self, encoder: &mut Encoder, record: &[u8]) -> bool {
        encoder
            .push(record)
            .write(|parts| self.write(parts))
            .unwrap()
    }
}

fn record(len: usize) -> Vec<u8> {
    (0..len).map(|byte| byte as u8 ^ 0x5a).collect()
}

/// All records in `bytes`, which arrive `step` at a time, and whether the sender said goodbye.
fn read(mut decoder: Decoder, bytes: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, bool), Fault> {
    let (mut records, mut record) = (vec![], b"old".to_vec());
    let mut left = bytes.chunks(step);
    loop {
        match decoder.next(&mut record)? {
            Next::Record => records.push(record.clone()),
            Next::Goodbye => return Ok((records, true)),
            Next::More => match left.next() {
                Some(chunk) => {
                    let fill = decoder.fill(|buffer| {
                        buffer[..chunk.len()].copy_from_slice(chunk);
                        Ok::<_, Infallible>(chunk.len())
                    });
                    assert_eq!(fill, Ok(chunk.len()));
                }
                None => return Ok((records, false)),
            },
        }
    }
}

fn decoder() -> Decoder {
    Decoder::new(MAX, FRAGMENT)
}

#[test]
fn records_arrive_however_the_stream_is_cut_into_pieces() {
    let mut stream = Stream {
        bytes: vec![],
        room: usize::MAX,
    };
    let mut encoder = Encoder::new(FRAGMENT);
    let sent: Vec<_> = (0..=MAX).map(record).collect();
    for record in &sent {
        assert!(stream.push(&mut encoder, record));
    }
    assert_eq!(encoder.goodbye(|parts| stream.write(parts)), Ok(true));
    for step in (1..60).chain([stream.bytes.len()]) {
        let got = read(decoder(), &stream.bytes, step);
        assert_eq!(got, Ok((sent.clone(), true)), "{step} bytes at a time");
    }
}

#[test]
fn a_record_sent_again_goes_on_where_it_stopped() {
    let record = record(MAX);
    for room in 1..40 {
        let mut stream = Stream {
            bytes: vec![],
            room,
        };
        let mut encoder = Encoder::new(FRAGMENT);
        let mut tries = 1;
        while !stream.push(&mut encoder, &record) {
            stream.room = room;
            tries += 1;
        }
        let frames = MAX.div_ceil(FRAGMENT);
        assert_eq!(
            stream.bytes.len(),
            MAX + 5 * frames,
            "nothing was sent twice"
        );
        assert_eq!(tries, stream.bytes.len().div_ceil(room));
        assert_eq!(
            read(decoder(), &stream.bytes, 7),
            Ok((vec![record.clone()], false))
        );
    }
}

#[test]
fn a_record_that_was_cut_anywhere_is_given_up_for_another() {
    let whole = MAX + 5 * MAX.div_ceil(FRAGMENT);
    for len in [0, 1, FRAGMENT, MAX] {
        for room in 0..whole {
            let mut stream = Stream {
                bytes: vec![],
                room,
            };
            let mut encoder = Encoder::new(FRAGMENT);
            if stream.push(&mut encoder, &record(len)) {
                continue;
            }
            // Of the same length, but not the same.
            let other = vec![0x77; len.max(1)];
            stream.room = 3;
            assert!(!stream.push(&mut encoder, &other), "no room yet");
            stream.room = usize::MAX;
            assert!(stream.push(&mut encoder, &other));
            assert!(stream.push(&mut encoder, b"next"));
            let expected = vec![other, b"next".to_vec()];
            let got = read(decoder(), &stream.bytes, 5);
            assert_eq!(got, Ok((expected, false)), "{len} bytes, {room} written");
        }
    }
}

#[test]
fn goodbye_gives_up_what_was_begun() {
    for room in 0..60 {
        let mut stream = Stream {
            bytes: vec![],
            room,
        };
        let mut encoder = Encoder::new(FRAGMENT);
        assert!(!stream.push(&mut encoder, &record(50)) || room == 50 + 4 * 5);
        while !encoder.goodbye(|parts| stream.write(parts)).unwrap() {
            stream.room = 1;
        }
        let (records, goodbye) = read(decoder(), &stream.bytes, 9).unwrap();
        assert!(goodbye && records.len() <= 1 && (records.is_empty() || room >= 70));
    }
}

#[test]
fn the_frames_of_several_senders_mix_and_their_records_do_not() {
    let mut stream = Stream {
        bytes: vec![],
        room: usize::MAX,
    };
    let (one, other) = (record(MAX), vec![0x11; MAX]);
    let mut encoders = [Encoder::tagged(FRAGMENT, 7), Encoder::tagged(FRAGMENT, 9)];
    let [first, second] = &mut encoders;
    let (mut first, mut second) = (first.push(&one), second.push(&other));
    // One whole frame each in turn, as atomic writes are.
    let mut budget = 1;
    let mut frame = |push: &mut super::Push<'_>, stream: &mut Stream| {
        budget = 1;
        push.write(|parts| match budget {
            0 => Ok(0),
            _ => {
                budget -= 1;
                stream.write(parts)
            }
        })
        .unwrap()
    };
    while !frame(&mut first, &mut stream) {
        // The other one dies in the middle.
        if stream.bytes.len() < 60 {
            assert!(!frame(&mut second, &mut stream));
        }
    }
    let mut decoder = Decoder::tagged(MAX, FRAGMENT);
    decoder
        .fill(|buffer| {
            buffer[..stream.bytes.len()].copy_from_slice(&stream.bytes);
            Ok::<_, Infallible>(stream.bytes.len())
        })
        .unwrap();
    let mut got = vec![];
    assert_eq!(decoder.next(&mut got), Ok(Next::Record));
    assert_eq!(got, one);
    assert_eq!(decoder.next(&mut got), Ok(Next::More));
    assert!(decoder.is_torn());
    assert_eq!(decoder.sources().collect::<Vec<_>>(), [7, 9]);
    decoder.retain(|source| source != 9);
    assert!(!decoder.is_torn());
}

#[test]
fn what_no_encoder_writes_is_a_fault() {
    let frame = |head: u32, len: usize, trailer: u8| {
        let mut bytes = head.to_le_bytes().to_vec();
        bytes.extend(record(len));
        bytes.push(trailer);
        bytes
    };
    let begin = super::FIRST;
    let fault = |bytes: &[u8]| read(decoder(), bytes, 3).unwrap_err().to_string();
    assert_eq!(
        fault(&frame(begin | 17, 17, 1)),
        "corrupt frame length: found 17, expected 16"
    );
    assert_eq!(
        fault(&frame(begin | 3, 3, 2)),
        "corrupt trailer: found 2, expected 1"
    );
    assert!(fault(&frame(3, 3, 1)).starts_with("corrupt head"));
    let mut long = frame(begin | 16, 16, 0);
    long.extend((0..6).flat_map(|_| frame(16, 16, 0)));
    assert_eq!(
        fault(&long),
        "corrupt record length: found 112, expected 100"
    );
}
