//! A ring of any kind and message type, as the property tests drive it: records in, records out.

use crate::model::{Ending, No, Record};
use annulus::{Protocol, Receiver, Ring, Sender, TryRecvError, TrySendError};
use bytemuck::Pod;
use std::mem::size_of;

/// A ring with its handles. Senders and receivers are named by number.
pub trait Subject {
    /// Sends one record.
    fn send(&mut self, sender: usize, record: &[u8]) -> Result<(), No>;

    /// Sends as many records as there is room for.
    fn send_batch(&mut self, sender: usize, records: &[Record]) -> Result<usize, No>;

    /// Reserves room for `asked` bytes, writes `record` there, and ends in the given way.
    fn reserve(
        &mut self,
        sender: usize,
        asked: usize,
        record: &[u8],
        ending: Ending,
    ) -> Result<(), No>;

    /// Receives one record.
    fn recv(&mut self, receiver: usize) -> Result<Record, No>;

    /// Receives at most `max` records.
    fn recv_batch(&mut self, receiver: usize, max: usize) -> Vec<Record>;

    /// Looks at a record, and how often it came back, and ends in the given way.
    fn peek(&mut self, receiver: usize, ending: Ending) -> Result<(Record, u64), No>;

    /// Closes a sender and attaches another in its place.
    fn renew_sender(&mut self, sender: usize);

    /// Closes a receiver and attaches another in its place.
    fn renew_receiver(&mut self, receiver: usize);

    /// What the first sender and the first receiver say is in use.
    fn lens(&self) -> (usize, usize);
}

/// A ring and its handles, which are there but for a moment when one is renewed.
pub struct Handles<T: annulus::Message + ?Sized, K: Protocol> {
    ring: Ring<T, K>,
    senders: Vec<Option<Sender<T, K>>>,
    receivers: Vec<Option<Receiver<T, K>>>,
}

impl<T: annulus::Message + ?Sized, K: Protocol> Handles<T, K> {
    /// Attaches as many handles as the kind takes, at most three a side.
    pub fn attach(ring: Ring<T, K>) -> Self {
        let count = |many| if many { 3 } else { 1 };
        let senders = (0..count(K::KIND.many_senders()))
            .map(|_| Some(ring.sender().expect("a place is free")))
            .collect();
        let receivers = (0..count(K::KIND.many_receivers()))
            .map(|_| Some(ring.receiver().expect("a place is free")))
            .collect();
        Self {
            ring,
            senders,
            receivers,
        }
    }

    fn sender(&mut self, number: usize) -> &mut Sender<T, K> {
        let count = self.senders.len();
        self.senders[number % count].as_mut().expect("attached")
    }

    fn receiver(&mut self, number: usize) -> &mut Receiver<T, K> {
        let count = self.receivers.len();
        self.receivers[number % count].as_mut().expect("attached")
    }

    fn renew_a_sender(&mut self, number: usize) {
        let count = self.senders.len();
        let place = &mut self.senders[number % count];
        *place = None;
        *place = Some(self.ring.sender().expect("a place is free"));
    }

    fn renew_a_receiver(&mut self, number: usize) {
        let count = self.receivers.len();
        let place = &mut self.receivers[number % count];
        *place = None;
        *place = Some(self.ring.receiver().expect("a place is free"));
    }

    fn both_lens(&self) -> (usize, usize) {
        let sender = self.senders[0].as_ref().expect("attached");
        let receiver = self.receivers[0].as_ref().expect("attached");
        (sender.len(), receiver.len())
    }
}

fn not_sent(error: TrySendError) -> No {
    match error {
        TrySendError::Full(()) => No::Full,
        TrySendError::TooLarge { .. } => No::TooLarge,
        other => panic!("{other}"),
    }
}

fn not_received(error: TryRecvError) -> No {
    match error {
        TryRecvError::Empty => No::Empty,
        other => panic!("{other}"),
    }
}

/// A ring of values.
pub struct Typed<T: Pod, K: Protocol>(pub Handles<T, K>);

impl<T: Pod, K: Protocol> Subject for Typed<T, K> {
    fn send(&mut self, sender: usize, record: &[u8]) -> Result<(), No> {
        let value: T = bytemuck::pod_read_unaligned(record);
        self.0.sender(sender).try_send(value).map_err(|error| {
            assert!(
                matches!(error, TrySendError::Full(back) if bytemuck::bytes_of(&back) == record)
            );
            No::Full
        })
    }

    fn send_batch(&mut self, sender: usize, records: &[Record]) -> Result<usize, No> {
        let values: Vec<T> = records
            .iter()
            .map(|record| bytemuck::pod_read_unaligned(record))
            .collect();
        self.0
            .sender(sender)
            .try_send_slice(&values)
            .map_err(not_sent)
    }

    fn reserve(
        &mut self,
        sender: usize,
        _asked: usize,
        record: &[u8],
        ending: Ending,
    ) -> Result<(), No> {
        let mut reservation = self.0.sender(sender).try_reserve().map_err(not_sent)?;
        reservation.write(bytemuck::pod_read_unaligned(record));
        match ending {
            Ending::Done => reservation.commit(),
            Ending::Dropped => drop(reservation),
            Ending::Leaked => std::mem::forget(reservation),
        }
        Ok(())
    }

    fn recv(&mut self, receiver: usize) -> Result<Record, No> {
        let value = self.0.receiver(receiver).try_recv().map_err(not_received)?;
        Ok(Record(bytemuck::bytes_of(&value).to_vec()))
    }

    fn recv_batch(&mut self, receiver: usize, max: usize) -> Vec<Record> {
        let mut values = vec![T::zeroed(); max];
        let count = match self.0.receiver(receiver).try_recv_slice(&mut values) {
            Ok(count) => count,
            Err(error) => {
                assert_eq!(not_received(error), No::Empty);
                0
            }
        };
        values[..count]
            .iter()
            .map(|value| Record(bytemuck::bytes_of(value).to_vec()))
            .collect()
    }

    fn peek(&mut self, receiver: usize, ending: Ending) -> Result<(Record, u64), No> {
        let peeked = self.0.receiver(receiver).try_peek().map_err(not_received)?;
        let seen = (
            Record(bytemuck::bytes_of(&peeked.read()).to_vec()),
            peeked.tries(),
        );
        match ending {
            Ending::Done => peeked.release(),
            Ending::Dropped => drop(peeked),
            Ending::Leaked => std::mem::forget(peeked),
        }
        Ok(seen)
    }

    fn renew_sender(&mut self, sender: usize) {
        self.0.renew_a_sender(sender);
    }

    fn renew_receiver(&mut self, receiver: usize) {
        self.0.renew_a_receiver(receiver);
    }

    fn lens(&self) -> (usize, usize) {
        assert_eq!(size_of::<T>(), self.0.ring.info().max_record);
        self.0.both_lens()
    }
}

/// A ring of byte strings.
pub struct Bytes<K: Protocol>(pub Handles<[u8], K>);

impl<K: Protocol> Subject for Bytes<K> {
    fn send(&mut self, sender: usize, record: &[u8]) -> Result<(), No> {
        self.0.sender(sender).try_send(record).map_err(not_sent)
    }

    fn send_batch(&mut self, sender: usize, records: &[Record]) -> Result<usize, No> {
        let records: Vec<&[u8]> = records.iter().map(|record| record.as_slice()).collect();
        self.0
            .sender(sender)
            .try_send_batch(&records)
            .map_err(not_sent)
    }

    fn reserve(
        &mut self,
        sender: usize,
        asked: usize,
        record: &[u8],
        ending: Ending,
    ) -> Result<(), No> {
        let mut reservation = self.0.sender(sender).try_reserve(asked).map_err(not_sent)?;
        assert_eq!(reservation.len(), asked);
        // In two pieces, the later one first, so that they meet within a word.
        let (first, second) = record.split_at(record.len() / 3);
        reservation.write_at(first.len(), second);
        reservation.write_at(0, first);
        match ending {
            Ending::Done => reservation.commit_len(record.len()),
            Ending::Dropped => drop(reservation),
            Ending::Leaked => std::mem::forget(reservation),
        }
        Ok(())
    }

    fn recv(&mut self, receiver: usize) -> Result<Record, No> {
        let mut buffer = b"what was in it".to_vec();
        match self.0.receiver(receiver).try_recv(&mut buffer) {
            Ok(len) => {
                assert_eq!(len, buffer.len());
                Ok(Record(buffer))
            }
            Err(error) => {
                assert!(buffer.is_empty());
                Err(not_received(error))
            }
        }
    }

    fn recv_batch(&mut self, receiver: usize, max: usize) -> Vec<Record> {
        let (mut buffer, mut records) = (vec![], vec![]);
        let result = self
            .0
            .receiver(receiver)
            .try_recv_batch(max, &mut buffer, |record| {
                records.push(Record(record.to_vec()))
            });
        match result {
            Ok(count) => assert_eq!(count, records.len()),
            Err(error) => {
                assert_eq!(not_received(error), No::Empty);
                assert!(records.is_empty());
            }
        }
        records
    }

    fn peek(&mut self, receiver: usize, ending: Ending) -> Result<(Record, u64), No> {
        let peeked = self.0.receiver(receiver).try_peek().map_err(not_received)?;
        let mut record = vec![];
        peeked.read(&mut record);
        assert_eq!(peeked.len(), record.len());
        assert_eq!(peeked.as_slice().unwrap_or(&record), record);
        let seen = (Record(record), peeked.tries());
        match ending {
            Ending::Done => peeked.release(),
            Ending::Dropped => drop(peeked),
            Ending::Leaked => std::mem::forget(peeked),
        }
        Ok(seen)
    }

    fn renew_sender(&mut self, sender: usize) {
        self.0.renew_a_sender(sender);
    }

    fn renew_receiver(&mut self, receiver: usize) {
        self.0.renew_a_receiver(receiver);
    }

    fn lens(&self) -> (usize, usize) {
        self.0.both_lens()
    }
}
