//! The process that receives and answers. It does what each record asks, and checks all of them.

use super::near::stamp;
use super::receipt;
use super::record::{Head, Records, Sequence, Use, now};
use super::worker::{Ends, Orders, cpu_time};
use crate::crew::failed;
use annulus_channel::{RecvTimeoutError, SendError};
use std::time::Duration;

/// Where records may be lost, how many come before an answer.
const ANSWER_EVERY: u64 = 16;

/// How long nothing may come before something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// The receiver's state.
pub struct Far {
    ends: Ends,
    records: Records,
    lossy: bool,
    /// Answer for every so many records.
    every: u64,
    sequence: Sequence,
    /// When the first record that counts came, and the CPU time until then.
    first: Option<(u64, u64)>,
    counted: u64,
    done: receipt::Far,
}

impl Far {
    pub fn new(ends: Ends, orders: &Orders) -> Self {
        Self {
            lossy: ends.rx.capabilities().lossy,
            ends,
            records: Records::new(orders.size),
            every: if orders.size > 1024 { 1 } else { ANSWER_EVERY },
            sequence: Sequence::default(),
            first: None,
            counted: 0,
            done: receipt::Far::default(),
        }
    }

    /// Answers until the other says goodbye.
    pub fn run(mut self) -> Result<receipt::Far, String> {
        let mut record = Vec::new();
        loop {
            if self.lossy {
                match self.ends.rx.recv_timeout(&mut record, PATIENCE) {
                    // The goodbye may be lost.
                    Err(RecvTimeoutError::Disconnected) => break,
                    received => received.map_err(failed("receiving"))?,
                };
            } else {
                let received = self.ends.rx.recv(&mut record);
                received.map_err(failed("receiving"))?;
            }
            let head = Head::read(&record)?;
            if head.what == Use::Bye {
                break;
            }
            self.heed(head, &record)?;
        }
        self.done.lost = self.sequence.lost;
        Ok(self.done)
    }

    #[inline]
    fn heed(&mut self, head: Head, record: &[u8]) -> Result<(), String> {
        if !head.what.is_payload() {
            return self.answer_word(head, record);
        }
        self.records.check(head, record)?;
        self.sequence.take(head.sequence, self.lossy)?;
        self.done.verified += 1;
        match head.what {
            Use::Echo => self.send(record)?,
            Use::Count => {
                self.counted += 1;
                if self.counted == 1 {
                    self.first = Some((now(), cpu_time()));
                }
            }
            Use::Timed => self.done.paced.record(now().saturating_sub(head.stamp)),
            _ => {}
        }
        if self.lossy
            && matches!(head.what, Use::Warm | Use::Count)
            && head.sequence.is_multiple_of(self.every)
        {
            self.answer(head.sequence + 1, 0)?;
        }
        Ok(())
    }

    #[cold]
    fn answer_word(&mut self, head: Head, record: &[u8]) -> Result<(), String> {
        if record != head.to_bytes() || head.what == Use::Answer || head.stamp != 0 {
            return Err(format!("a wrong word came: {head:?}"));
        }
        if head.what == Use::End {
            if let Some((start, cpu)) = self.first.take() {
                self.done.time = now() - start;
                self.done.cpu = cpu_time() - cpu;
                self.done.received = self.counted - 1;
            }
            // What was lost at the end is lost, too.
            let missing = head.sequence.checked_sub(1);
            if let Some(last) = missing.filter(|&last| self.lossy && self.sequence.is_due(last)) {
                self.sequence.take(last, true)?;
                self.sequence.lost += 1;
            }
        }
        self.answer(head.sequence, stamp(head.what, head.sequence))
    }

    fn answer(&mut self, sequence: u64, stamp: u64) -> Result<(), String> {
        let head = Head {
            what: Use::Answer,
            sequence,
            stamp,
        };
        self.send(&head.to_bytes())
    }

    fn send(&mut self, record: &[u8]) -> Result<(), String> {
        match self.ends.tx.send(record) {
            // It may have gone, and its goodbye is on the way or lost.
            Err(SendError::Disconnected(())) if self.lossy => Ok(()),
            sent => sent.map_err(failed("answering")),
        }
    }
}
