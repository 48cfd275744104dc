//! Byte records: strings of any length up to half the ring, each behind a header with its length.

use super::Sender;
use crate::guard::Reservation;
use crate::handle::{NotSent, Protocol, after, copy_in, offset, unit};
use crate::layout::RECORD_HEADER;
use crate::ring::capabilities;
use crate::side::{SendSide, units_for};
use annulus_channel::{Capabilities, SendError, SendTimeoutError, TrySendError};
use std::time::{Duration, Instant};

/// Byte records.
impl<K: Protocol> Sender<[u8], K> {
    /// The longest record that can be sent: half the ring, less 8 bytes.
    pub fn max_record(&self) -> usize {
        self.side.view().max_record() as usize
    }

    /// Sends `record` if there is room now.
    ///
    /// # Errors
    ///
    /// [`Full`](TrySendError::Full), [`TooLarge`](TrySendError::TooLarge) with both lengths,
    /// [`Disconnected`](TrySendError::Disconnected) when the last receiver has closed, [`PeerDead`](TrySendError::PeerDead),
    /// [`Fault`](TrySendError::Fault). Nothing was sent.
    ///
    /// ```
    /// # use annulus::{RingOptions, mpmc};
    /// let ring: mpmc::Ring<[u8]> = RingOptions::new().capacity(4096).heap()?;
    /// let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// sender.try_send(b"a whole record")?;
    /// let mut buffer = Vec::new();
    /// assert_eq!(receiver.try_recv(&mut buffer), Ok(14));
    /// assert_eq!(buffer, b"a whole record");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.offer(record).map_err(|why| why.with(()))
    }

    fn check_len(&self, len: usize) -> Result<u64, NotSent> {
        let max = self.max_record();
        if len > max {
            return Err(NotSent::TooLarge { len, max });
        }
        Ok(units_for(len, unit::<[u8], K>() as u64))
    }

    #[inline]
    fn offer(&mut self, record: &[u8]) -> Result<(), NotSent> {
        let units = self.check_len(record.len())?;
        self.check_open()?;
        let claim = match self.side.claim(units, units, true) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        let position = claim.position;
        self.put(position, record);
        self.side.commit(claim, units, units);
        self.ring_data();
        self.fetch_ahead(position, record.len());
        Ok(())
    }

    /// Fetches the lines to be written next, ahead of those of the record of `len` bytes at `position`.
    #[inline]
    fn fetch_ahead(&self, position: u64, len: usize) {
        let view = self.side.view();
        let at = offset::<[u8], K>(view, position);
        let free = || self.side.free() as usize * unit::<[u8], K>();
        view.payload
            .fetch_ahead_of_record(at, RECORD_HEADER + len, free);
    }

    /// Copies a record with its header into an open claim, in which it fits.
    #[inline]
    fn put(&mut self, position: u64, record: &[u8]) {
        let view = self.side.view();
        let at = offset::<[u8], K>(view, position);
        // SAFETY: a claimed unit's first word.
        unsafe { view.payload.store_word(at, record.len() as u64) };
        // SAFETY: the claim has units for the header and for the record, rounded up.
        unsafe { copy_in::<K>(view, at + RECORD_HEADER, record.as_ptr(), record.len()) };
    }

    /// Sends `record`, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send), without `Full`.
    pub fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        match self.send_until(record, None) {
            Some(result) => result,
            None => unreachable!("a wait without a deadline has a result"),
        }
    }

    /// Sends `record`, waiting for room until `deadline`. Never gives up before it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or [`Timeout`](SendTimeoutError::Timeout).
    pub fn send_deadline(
        &mut self,
        record: &[u8],
        deadline: Instant,
    ) -> Result<(), SendTimeoutError> {
        match self.send_until(record, Some(deadline)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(())),
        }
    }

    /// Sends `record`, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn send_timeout(
        &mut self,
        record: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        match self.send_until(record, after(timeout)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(())),
        }
    }

    fn send_until(
        &mut self,
        record: &[u8],
        deadline: Option<Instant>,
    ) -> Option<Result<(), SendError>> {
        self.wait(deadline, |this| match this.offer(record) {
            Ok(()) => Some(Ok(())),
            Err(why) => why.for_good(()).ok().map(Err),
        })
    }

    /// Sends as many of `records` as there is room for now, from the first on, and makes them visible all
    /// at once. Returns how many. Records up to the ring's end go together; those beyond it in the next call.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send), for the first record. A later one that is too large ends the batch
    /// before it.
    pub fn try_send_batch(&mut self, records: &[&[u8]]) -> Result<usize, TrySendError> {
        self.offer_batch(records).map_err(|why| why.with(()))
    }

    fn offer_batch(&mut self, records: &[&[u8]]) -> Result<usize, NotSent> {
        let Some(first) = records.first() else {
            self.check_open()?;
            return Ok(0);
        };
        let least = self.check_len(first.len())?;
        self.check_open()?;
        let units = self.side.view().geometry.units;
        let mut most = 0;
        for record in records {
            match self.check_len(record.len()) {
                Ok(more) if most < units => most += more,
                _ => break,
            }
        }
        let claim = match self.side.claim(least, most, true) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        let (mut used, mut count) = (0, 0);
        for record in records {
            let units = units_for(record.len(), unit::<[u8], K>() as u64);
            if used + units > claim.units || record.len() > self.max_record() {
                break;
            }
            let position = claim.position.wrapping_add(used);
            self.fetch_ahead(position, record.len());
            self.put(position, record);
            if count > 0 {
                self.side.split(position, units);
            }
            used += units;
            count += 1;
        }
        self.side.commit(claim, used, least);
        self.ring_data();
        Ok(count)
    }

    /// Sends all of `records` in order, waiting for room; as many at once as there is room for.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). The error holds how many were sent before it.
    pub fn send_batch(&mut self, records: &[&[u8]]) -> Result<(), SendError<usize>> {
        let mut sent = 0;
        while sent < records.len() {
            let result = self.wait(None, |this| match this.offer_batch(&records[sent..]) {
                Ok(count) => Some(Ok(count)),
                Err(why) => why.for_good(sent).ok().map(Err),
            });
            match result {
                Some(count) => sent += count?,
                None => unreachable!("a wait without a deadline has a result"),
            }
        }
        Ok(())
    }

    /// Takes room for a record of at most `len` bytes, to be written and committed later.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// # use annulus::{RingOptions, spsc};
    /// # let ring: spsc::Ring<[u8]> = RingOptions::new().capacity(4096).heap()?;
    /// # let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// let mut reservation = sender.try_reserve(100)?;
    /// reservation.write_at(0, b"head");
    /// reservation.write_at(4, b"tail");
    /// reservation.commit_len(8);
    /// let mut buffer = Vec::new();
    /// assert_eq!(receiver.try_recv(&mut buffer), Ok(8));
    /// assert_eq!(buffer, b"headtail");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&mut self, len: usize) -> Result<Reservation<'_, [u8], K>, TrySendError> {
        let claim = self
            .check_len(len)
            .and_then(|units| self.reserve_units(units, true));
        match claim {
            Ok(claim) => Ok(Reservation::new(self, claim, len)),
            Err(why) => Err(why.with(())),
        }
    }

    /// Takes room for a record of at most `len` bytes, waiting for it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, [u8], K>, SendError> {
        let units = match self.check_len(len) {
            Ok(units) => units,
            Err(NotSent::TooLarge { len, max }) => {
                return Err(SendError::TooLarge {
                    value: (),
                    len,
                    max,
                });
            }
            Err(_) => unreachable!("a length is too large or not"),
        };
        let claim = self.wait_reserve(units, true)?;
        Ok(Reservation::new(self, claim, len))
    }
}

impl<K: Protocol> annulus_channel::Sender for Sender<[u8], K> {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.try_send(record)
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.send(record)
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_deadline(record, deadline)
    }

    fn max_record(&self) -> usize {
        self.max_record()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.link.shared)
    }
}
