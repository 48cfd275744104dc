//! The process that sends and asks, part by part: round trips, then as fast as it goes, then on schedule.
//!
//! On schedule, record *n* is due at the start plus *n* intervals, and carries that moment; its latency counts from then,
//! at the receiver, whether or not the record left in time. So a stall is charged to every record that it delays, as Gil
//! Tene asks for ("How NOT to Measure Latency").
//!
//! Where records may be lost, no more are under way than the receiver has answered for, less a window: what is measured
//! is then how fast it goes when little is lost. A question without an answer is asked again.

use super::receipt::{self, Latencies};
use super::record::{Head, Records, Use, now};
use super::worker::{Ends, Fault, Orders, cpu_time};
use crate::crew::failed;
use annulus_channel::RecvTimeoutError;
use std::hint;
use std::thread;
use std::time::Duration;

/// How long an answer may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take where it may be lost.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// How often to ask where questions and answers may be lost.
const ATTEMPTS: u32 = 100;

/// Of each part, this share passes before anything counts.
const WARM_SHARE: u64 = 8;

/// Of the records that go as fast as they can, at least so many count.
const LEAST: u64 = 16;

/// Bytes under way where records may be lost, at most, and the number of records.
const WINDOW: (usize, u64) = (96 << 10, 64);

/// Short records between two looks at the clock.
const STRIDE: u64 = 32;

/// The sender's state.
pub struct Near<'a> {
    ends: Ends,
    orders: &'a Orders,
    records: Records,
    /// The next record's number.
    next: u64,
    /// One more than the number that the receiver answered for.
    answered: u64,
    lossy: bool,
    answer: Vec<u8>,
    done: receipt::Near,
}

impl<'a> Near<'a> {
    pub fn new(ends: Ends, orders: &'a Orders) -> Self {
        Self {
            lossy: ends.tx.capabilities().lossy,
            ends,
            orders,
            records: Records::new(orders.size),
            next: 0,
            answered: 0,
            answer: Vec::new(),
            done: receipt::Near::default(),
        }
    }

    /// Does every part.
    pub fn run(mut self) -> Result<receipt::Near, String> {
        self.ask(Use::Hello)?;
        self.round_trips()?;
        self.as_fast_as_it_goes()?;
        self.on_schedule()?;
        self.word(Use::Bye)?;
        // The channel back stays open until the other has gone, so that it never speaks to nobody.
        while self
            .ends
            .rx
            .recv_timeout(&mut self.answer, PATIENCE)
            .is_ok()
        {}
        Ok(self.done)
    }

    /// How long a part takes in nanoseconds, and when it counts.
    fn part(&self) -> (u64, u64) {
        let part = self.orders.millis.max(1) * 1_000_000;
        (part, part / WARM_SHARE)
    }

    fn round_trips(&mut self) -> Result<(), String> {
        let (part, warm) = self.part();
        let start = now();
        loop {
            let sent = now();
            if sent - start >= part && self.done.trips.count() >= LEAST {
                return Ok(());
            }
            let sequence = self.send(Use::Echo, sent)?;
            if !self.await_echo(sequence)? {
                self.done.lost += 1;
                if self.done.lost > u64::from(ATTEMPTS) + self.done.trips.count() {
                    return Err("most round trips came to nothing".to_owned());
                }
            } else if sent - start >= warm {
                self.done.trips.record(now() - sent);
            }
        }
    }

    /// Whether the echo came.
    fn await_echo(&mut self, sequence: u64) -> Result<bool, String> {
        loop {
            if self.lossy {
                match self.ends.rx.recv_timeout(&mut self.answer, IMPATIENCE) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => return Ok(false),
                    Err(error) => return Err(failed("receiving an echo")(error)),
                }
            } else {
                let received = self.ends.rx.recv(&mut self.answer);
                received.map_err(failed("receiving an echo"))?;
            }
            let head = Head::read(&self.answer)?;
            // Late, and counted as lost.
            if self.lossy && (head.what == Use::Answer || head.sequence < sequence) {
                continue;
            }
            if head.what != Use::Echo || head.sequence != sequence {
                return Err(format!("expected echo {sequence}, found {head:?}"));
            }
            self.records.check(head, &self.answer)?;
            return Ok(true);
        }
    }

    fn as_fast_as_it_goes(&mut self) -> Result<(), String> {
        let (part, warm) = self.part();
        let stride = if self.orders.size < 4096 { STRIDE } else { 1 };
        let start = now();
        self.answered = self.next;
        while now() - start < warm {
            for _ in 0..stride {
                self.wait_for_window()?;
                self.send(Use::Warm, 0)?;
            }
        }
        let (first, cpu) = (self.next, cpu_time());
        let mut due = self.orders.fault;
        while now() - start < part || self.next - first < LEAST {
            for _ in 0..stride {
                self.wait_for_window()?;
                self.send(Use::Count, 0)?;
            }
            if let Some(fault) = due.take() {
                self.commit(fault)?;
            }
        }
        self.done.cpu = cpu_time() - cpu;
        self.done.sent = self.next - first;
        self.ask(Use::End)
    }

    fn on_schedule(&mut self) -> Result<(), String> {
        let (part, warm) = self.part();
        let interval = 1e9 / self.orders.rate;
        let count = (part as f64 / interval).ceil().max(LEAST as f64) as u64;
        let cold = (warm as f64 / interval) as u64;
        let start = now() + 1_000_000;
        // A schedule that cannot be kept is given up in the end, and the rate reached says so.
        let limit = start + 3 * part.max((count as f64 * interval) as u64);
        let mut sent = 0;
        while sent < count && (now() < limit || sent < cold + LEAST) {
            let due = start + (sent as f64 * interval) as u64;
            wait_until(due);
            let what = if sent < cold { Use::Warm } else { Use::Timed };
            self.send(what, due)?;
            sent += 1;
        }
        self.done.paced = sent;
        self.done.paced_time = (now() - start).max((sent as f64 * interval) as u64);
        self.ask(Use::End)
    }

    #[inline]
    fn send(&mut self, what: Use, stamp: u64) -> Result<u64, String> {
        let sequence = self.next;
        let head = Head {
            what,
            sequence,
            stamp,
        };
        let record = self.records.make(head);
        self.ends.tx.send(record).map_err(failed("sending"))?;
        self.next += 1;
        Ok(sequence)
    }

    /// Sends a record with a fault.
    fn commit(&mut self, fault: Fault) -> Result<(), String> {
        let head = Head {
            what: Use::Count,
            sequence: self.next,
            stamp: 0,
        };
        if fault == Fault::Flip {
            let mut record = self.records.make(head).to_vec();
            let middle = record.len() / 2;
            record[middle] ^= 0x10;
            self.ends.tx.send(&record).map_err(failed("sending"))?;
        }
        self.next += 1;
        Ok(())
    }

    /// Where records may be lost: waits until fewer are under way than the window.
    fn wait_for_window(&mut self) -> Result<(), String> {
        if !self.lossy {
            return Ok(());
        }
        let (bytes, count) = WINDOW;
        let window = ((bytes / self.orders.size) as u64).clamp(1, count);
        while self.next - self.answered >= window {
            match self.ends.rx.recv_timeout(&mut self.answer, IMPATIENCE) {
                Ok(_) => {
                    let head = Head::read(&self.answer)?;
                    self.answered = self.answered.max(head.sequence);
                }
                // They are lost; or the answer is, which is the same to us.
                Err(RecvTimeoutError::Timeout) => self.answered = self.next,
                Err(error) => return Err(failed("receiving an answer")(error)),
            }
        }
        Ok(())
    }

    /// A word without a body.
    fn word(&mut self, what: Use) -> Result<(), String> {
        let head = Head {
            what,
            sequence: self.next,
            stamp: 0,
        };
        let sent = self.ends.tx.send(&head.to_bytes());
        sent.map_err(failed("sending"))
    }

    /// Says a word until it is answered.
    fn ask(&mut self, what: Use) -> Result<(), String> {
        let (attempts, patience) = match self.lossy {
            true => (ATTEMPTS, IMPATIENCE),
            false => (1, PATIENCE),
        };
        for _ in 0..attempts {
            self.word(what)?;
            loop {
                match self.ends.rx.recv_timeout(&mut self.answer, patience) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(error) => return Err(failed("receiving an answer")(error)),
                }
                let head = Head::read(&self.answer)?;
                // In a window's answers the stamp is 0, in late ones it is another word's.
                if head.what == Use::Answer && head.stamp == stamp(what, self.next) {
                    return Ok(());
                }
            }
        }
        Err("no answer came".to_owned())
    }
}

/// What the answer to a word is stamped with.
pub fn stamp(what: Use, sequence: u64) -> u64 {
    ((what as u64 + 1) << 56) | sequence
}

/// Waits for a moment. Whoever needs the CPU meanwhile may have it, but we are there in time.
fn wait_until(due: u64) {
    loop {
        let now = now();
        if now >= due {
            return;
        }
        match due - now {
            400_000.. => thread::sleep(Duration::from_nanos(due - now - 200_000)),
            5_000.. => thread::yield_now(),
            _ => hint::spin_loop(),
        }
    }
}

impl receipt::Near {
    /// Records a second on schedule, as they were really sent.
    pub fn rate_reached(&self) -> f64 {
        self.paced as f64 / (self.paced_time as f64 / 1e9)
    }

    /// The median of the round trips.
    pub fn round_trip(&self) -> u64 {
        Latencies::at(&self.trips, 0.5)
    }
}
