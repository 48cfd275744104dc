//! The logs of a crowded ring, compared: each record that was committed came once, in the order of its sender, and what the
//! victim was at came as far as it may.

use super::book::{Book, LOGS};
use super::hands::FIRST_NAME;
use crate::lab::cell::{Cell, Op, Side};
use crate::lab::form::{BATCH, Form, number};
use crate::lab::stage::{Stage, VICTIM};
use crate::lab::survive::{Fault, Sort, fault};
use annulus::Protocol;
use std::collections::HashMap;

/// The number of the log of who takes out what is left.
pub const LAST: usize = LOGS - 1;

/// What the dead one had done, if nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Its records that came.
    pub visible: usize,
    /// The records of others that it has for good.
    pub own: usize,
}

/// All that is in the logs.
pub struct Logged {
    /// How often each record came, and the most tries it had.
    came: HashMap<u64, (u64, u64)>,
    /// Every record that a sender of the crowd sent.
    sent: Vec<u64>,
}

impl Logged {
    /// Reads the logs.
    pub fn read(book: &Book) -> Self {
        let mut came = HashMap::new();
        for (number, tries) in book
            .logs()
            .flat_map(|log| log.received().collect::<Vec<_>>())
        {
            let (count, most) = came.entry(number).or_insert((0, 0));
            *count += 1;
            *most = tries.max(*most);
        }
        let sent = book.logs().zip(FIRST_NAME..);
        let sent = sent.flat_map(|(log, name)| (0..log.sent()).map(move |at| number(name, at)));
        Self {
            came,
            sent: sent.collect(),
        }
    }

    fn count(&self, number: u64) -> u64 {
        self.came.get(&number).map_or(0, |&(count, _)| count)
    }

    /// Records sent by the crowd.
    pub fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Those that did not come.
    pub fn missing(&self) -> Vec<u64> {
        let missing = |number: &&u64| self.count(**number) == 0;
        self.sent.iter().filter(missing).copied().collect()
    }

    /// Compares.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn judge<F: Form, K: Protocol>(
        &self,
        cell: &Cell,
        book: &Book,
        stage: &Stage<F, K>,
    ) -> Result<Fate, Fault> {
        if let Some((twice, _)) = self.came.iter().find(|(_, (count, _))| *count > 1) {
            return fault(Sort::Duplicated, format!("record {twice:#x} came twice"));
        }
        judge_order(book)?;
        let came = |at: &u64| self.count(number(VICTIM, *at)) == 1;
        let visible = (0..BATCH as u64).take_while(came).count();
        let strange = |number: &&u64| {
            let (sender, at) = (**number >> 32, **number & 0xffff_ffff);
            match sender.checked_sub(FIRST_NAME) {
                Some(log) if log < LOGS as u64 => at >= book.log(log as usize).sent(),
                _ => sender != VICTIM || at as usize >= visible,
            }
        };
        if let Some(strange) = self.came.keys().find(strange) {
            let text = format!("record {strange:#x} was never committed");
            return fault(Sort::Torn, text);
        }
        let most = match cell.op {
            Op::Send | Op::Commit => 1,
            Op::SendBatch => BATCH,
            _ => 0,
        };
        if visible > most {
            let text = format!("{visible} records of the victim were seen, of {most}");
            return fault(Sort::Torn, text);
        }
        let missing = self.missing();
        let (own, takes) = (missing.len(), cell.takes(stage.seen()));
        if own > takes {
            let text = format!(
                "{own} committed records did not arrive, {:#x} among them; the victim can have {takes}",
                missing[0]
            );
            return fault(Sort::Lost, text);
        }
        self.judge_told(cell, stage.told(), (visible, own))?;
        self.judge_marks(cell, stage.seen(), own)?;
        Ok(Fate { visible, own })
    }

    /// What the victim's call returned is certain.
    fn judge_told(
        &self,
        cell: &Cell,
        told: Option<usize>,
        (visible, own): (usize, usize),
    ) -> Result<(), Fault> {
        let (done, what, sort) = match cell.op.side() {
            Side::Sender => (visible, "sent", Sort::Lost),
            Side::Receiver => (own, "received", Sort::Duplicated),
        };
        match told {
            Some(told) if told != done => fault(
                sort,
                format!("the victim's call had {what} {told}, the ring says {done}"),
            ),
            _ => Ok(()),
        }
    }

    /// Where the others release all that they look at, the victim's record alone can come back, and says so if the victim
    /// had read it.
    fn judge_marks(&self, cell: &Cell, seen: bool, own: usize) -> Result<(), Fault> {
        if !cell.op.at_least_once() {
            return Ok(());
        }
        let marked = self.came.values().filter(|&&(_, tries)| tries > 0).count();
        if own + marked > 1 {
            let text = format!("{marked} records have tries, and the victim has {own}");
            return fault(Sort::Torn, text);
        }
        if cell.counts_tries() && seen && own + marked == 0 {
            let text = "the record that the victim had read came without tries";
            return fault(Sort::Duplicated, text);
        }
        Ok(())
    }
}

/// Each receives the records of each sender in their order, but for those that had come back; and whoever comes last has
/// the last.
fn judge_order(book: &Book) -> Result<(), Fault> {
    let mut all = HashMap::new();
    for (log, number) in book.logs().zip(0..) {
        let mut lasts = if number == LAST {
            std::mem::take(&mut all)
        } else {
            HashMap::new()
        };
        for (number, _) in log.received().filter(|&(_, tries)| tries == 0) {
            let last = lasts.insert(number >> 32, number);
            if let Some(last) = last.filter(|&last| last >= number) {
                let text = format!("record {number:#x} came after {last:#x}");
                return fault(Sort::Torn, text);
            }
        }
        for (sender, last) in lasts {
            let most = all.entry(sender).or_insert(last);
            *most = last.max(*most);
        }
    }
    Ok(())
}
