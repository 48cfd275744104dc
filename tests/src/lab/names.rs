//! Deaths while a name is made, opened, or removed: afterwards there is a whole ring of that name or none, and once
//! it is removed nothing of it is left.

use super::cell::{Cell, Fill, FormName, Op, Start};
use super::form::{Form, number};
use super::kill::{Choice, Report};
use super::page::Page;
use super::row::Row;
use super::stage::{OLD, Stage, said};
use super::step::{Arrival, Trace, Victim, mark};
use super::survive::{Fault, Manner, Seen, Sort, Survivors, fault, hung};
use super::symbol;
use super::watch::Watch;
use crate::place::{Medium, Name};
use annulus::{Kind, Location, OpenError, Order, Protocol, Ring, RingOptions};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Records in a ring that is there before.
const OLDS: u64 = 4;

/// What the victim is killed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOp {
    /// A ring is created, which nobody has made before.
    CreateNew,
    /// A ring is created unless there is one, and there is none.
    Create,
    /// A ring that is there is opened.
    Open,
    /// A ring's name is removed.
    Remove,
    /// The last handle of a finished ring is closed, which removes its name.
    Finish,
}

/// One choice of everything.
#[derive(Clone, Copy, Debug)]
pub struct NameCell {
    /// The kind of ring.
    pub kind: Kind,
    /// The form of records.
    pub form: FormName,
    /// Where it lies.
    pub medium: Medium,
    /// What is done.
    pub op: NameOp,
}

impl NameCell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut cells = vec![];
        for (kind, form) in [(Kind::Spsc, FormName::Typed), (Kind::Mpmc, FormName::Long)] {
            for medium in [Medium::Shm, Medium::File, Medium::Sysv] {
                for op in [
                    NameOp::CreateNew,
                    NameOp::Create,
                    NameOp::Open,
                    NameOp::Remove,
                    NameOp::Finish,
                ] {
                    cells.push(Self {
                        kind,
                        form,
                        medium,
                        op,
                    });
                }
            }
        }
        cells
    }

    /// The scenario's name in the table.
    pub fn scenario(&self) -> String {
        let op = match self.op {
            NameOp::CreateNew => "create-new",
            NameOp::Create => "create",
            NameOp::Open => "open",
            NameOp::Remove => "remove",
            NameOp::Finish => "finish",
        };
        let medium = match self.medium {
            Medium::Shm => "shm",
            Medium::File => "file",
            Medium::Sysv => "sysv",
            Medium::Heap | Medium::Memfd => "nameless",
        };
        format!("{op} {medium}")
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        Row::new(&self.kind.to_string(), &self.scenario())
    }

    /// The survivors' way with a ring that is there: nobody was killed on it.
    fn cell(&self) -> Cell {
        Cell {
            kind: self.kind,
            order: Order::Total,
            form: self.form,
            op: Op::CloseReceiver,
            fill: Fill::Half,
            start: Start::Zero,
        }
    }
}

impl fmt::Display for NameCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.scenario())
    }
}

fn options<F: Form, K: Protocol>(op: NameOp) -> RingOptions {
    let mut options = RingOptions::new();
    options.capacity(F::capacity(K::KIND));
    options.unlink_when_finished(op == NameOp::Finish);
    options
}

/// What is there before the victim comes.
fn prepare<F: Form, K: Protocol>(cell: &NameCell, location: &Location) -> Result<(), Fault> {
    if matches!(cell.op, NameOp::CreateNew | NameOp::Create) {
        return Ok(());
    }
    let not = |error: String| hung(format!("preparing: {error}"));
    let mut options = options::<F, K>(cell.op);
    let ring: Ring<F::Message, K> = options
        .create_new(true)
        .open(location)
        .map_err(|e| not(said(e)))?;
    // A receiver comes first, so that nothing is finished before the victim has come.
    let mut sender = ring.sender().map_err(|error| not(said(error)))?;
    for at in 0..OLDS {
        let sent = F::try_send(&mut sender, &F::draft(number(OLD, at)));
        sent.map_err(|stop| not(format!("{stop:?}")))?;
    }
    Ok(())
}

/// What the victim does.
fn perform<F: Form, K: Protocol>(op: NameOp, location: &Location, page: &Page) {
    let mut options = options::<F, K>(op);
    let say = || page[0].store(1, Relaxed);
    match op {
        NameOp::CreateNew | NameOp::Create | NameOp::Open => {
            match op {
                NameOp::CreateNew => options.create_new(true),
                NameOp::Create => options.create(true),
                _ => &mut options,
            };
            mark();
            let ring = options.open::<F::Message, K>(location).expect("it opens");
            say();
            mark();
            drop(ring);
        }
        NameOp::Remove => {
            mark();
            annulus::remove(location).expect("it can be removed");
            say();
            mark();
        }
        NameOp::Finish => {
            let ring = options.open::<F::Message, K>(location).expect("it opens");
            let mut receiver = ring.receiver().expect("a place is free");
            let mut buffer = F::buffer();
            for _ in 0..OLDS {
                F::try_recv(&mut receiver, &mut buffer).expect("a record");
            }
            mark();
            drop(receiver);
            say();
            mark();
        }
    }
}

/// What is found under the name. True if a ring is there.
fn survive<F: Form, K: Protocol>(cell: &NameCell, name: &Name, told: bool) -> Result<bool, Fault> {
    let since = Instant::now();
    let location = name.location();
    let mut options = options::<F, K>(cell.op);
    let (there, ring) = match options.open::<F::Message, K>(location) {
        Ok(ring) => (true, ring),
        Err(OpenError::NotFound(_)) => {
            let made = options.create(true).open::<F::Message, K>(location);
            let half = |error| hung(format!("nothing is there, but it cannot be made: {error}"));
            (false, made.map_err(half)?)
        }
        Err(error) => return Err(hung(format!("something half made is there: {error}"))),
    };
    // What was not told may have happened all the same.
    let wrong = match cell.op {
        NameOp::CreateNew | NameOp::Create => told && !there,
        NameOp::Open => !there,
        NameOp::Remove | NameOp::Finish => told && there,
    };
    if wrong {
        let found = if there { "there" } else { "not there" };
        return fault(
            Sort::Lost,
            format!("the victim's call had returned, and the ring is {found}"),
        );
    }
    let mut stage = Stage::<F, K>::around(ring).map_err(hung)?;
    if there && matches!(cell.op, NameOp::Open | NameOp::Remove) {
        stage.old = (0..OLDS).map(|at| number(OLD, at)).collect();
    }
    let mut survivors = Survivors::come(&mut stage, &cell.cell(), Manner::Newcomer)?;
    let Seen { .. } = survivors.drain()?;
    survivors.go_round(false)?;
    survivors.settle()?;
    drop(survivors);
    drop(stage);
    // What asked for it goes with its last handle.
    let removed = annulus::remove(location);
    let gone = cell.op == NameOp::Finish && matches!(removed, Err(OpenError::NotFound(_)));
    if let (Err(error), false) = (removed, gone) {
        return Err(hung(format!("it cannot be removed: {error}")));
    }
    let left = name.left();
    if !left.is_empty() {
        return Err(hung(format!("after it was removed there is {left:?}")));
    }
    if since.elapsed() > Duration::from_secs(1) {
        return Err(hung(format!("it took {:?}", since.elapsed())));
    }
    Ok(there)
}

/// Kills a victim after each chosen step.
pub fn kill<F: Form, K: Protocol>(cell: &NameCell, choice: Choice, watch: &Watch) -> Report {
    let mut report = Report::new(cell.row());
    // Survivors have a second, which a disk may well take.
    let name = match cell.medium {
        Medium::File => Name::file_in_memory(),
        medium => Name::on(medium).expect("a medium with names"),
    };
    let page = Page::new();
    let bring = || -> Result<Victim, Fault> {
        page[0].store(0, Relaxed);
        prepare::<F, K>(cell, name.location())?;
        let victim = Victim::fork(|| perform::<F, K>(cell.op, name.location(), &page));
        victim.map_err(|error| hung(said(error)))
    };
    // The first time differs in what the memory allocator has to do.
    let recorded = (|| -> Result<Trace, Fault> {
        for _ in 0..2 {
            bring()?.kill();
            survive::<F, K>(cell, &name, false)?;
        }
        let mut victim = bring()?;
        let trace = victim.record().map_err(|error| hung(said(error)))?;
        victim.kill();
        survive::<F, K>(cell, &name, true)?;
        Ok(trace)
    })();
    let trace = match recorded {
        Ok(trace) => trace,
        Err(fault) => {
            report.blame(&format!("{cell}, while it was recorded"), &fault);
            return report;
        }
    };
    report.steps = trace.len();
    let mut before: Option<(usize, bool)> = None;
    // By single steps alone, which cannot go astray unseen.
    let exactly = |step: usize| -> Result<bool, Fault> {
        let mut victim = bring()?;
        victim.walk(step).map_err(|error| hung(said(error)))?;
        victim.kill();
        survive::<F, K>(cell, &name, page[0].load(Relaxed) != 0)
    };
    // Whoever had to be walked went another way, on which the same step is another.
    let mut walked;
    for step in choice.of(trace.len()) {
        watch.at(step as u64);
        walked = false;
        let outcome = (|| {
            let mut victim = bring()?;
            let arrival = victim.advance(&trace, step);
            if arrival.map_err(|error| hung(said(error)))? == Arrival::Strayed {
                report.strayed += 1;
                walked = true;
                victim.kill();
                // Whatever it has done by then must be in order as well.
                survive::<F, K>(cell, &name, page[0].load(Relaxed) != 0)?;
                victim = bring()?;
                victim.walk(step).map_err(|error| hung(said(error)))?;
            }
            victim.kill();
            report.row.kills += 1;
            survive::<F, K>(cell, &name, page[0].load(Relaxed) != 0)
        })();
        let place = || {
            let pc = symbol::name(trace.pc(step));
            format!(
                "{cell}: killed after step {step} of {}, before {pc}",
                trace.len()
            )
        };
        match outcome {
            Ok(_) if walked => {}
            Ok(there) => {
                let goes = matches!(cell.op, NameOp::Remove | NameOp::Finish);
                if let Some((earlier, then)) = before
                    && (then != there && there == goes)
                    && exactly(earlier).ok() == Some(then)
                    && exactly(step).ok() == Some(there)
                {
                    let found = if there { "there" } else { "not there" };
                    let text = format!("the ring is {found}, and was not so after step {earlier}");
                    let sort = Sort::Torn;
                    report.blame(&place(), &Fault { sort, text });
                }
                before = Some((step, there));
            }
            Err(fault) => {
                report.blame(&place(), &fault);
                let _ = annulus::remove(name.location());
                name.clear();
            }
        }
        if report.is_enough() {
            break;
        }
    }
    report
}
