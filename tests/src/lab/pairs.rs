//! Two deaths: the victim's, while something of its is open, and the repairer's, after every step of the repair; or the
//! repairer is only stopped, and goes on when others have repaired the same.
//!
//! To whoever comes later a dead process is what it left in the region. So of the victim's steps that leave the same
//! bytes there one is enough; the steps are compared by them.

use super::cell::{Cell, Fill, FormName, Op, Start};
use super::form::Form;
use super::kill::{Choice, Report};
use super::row::Row;
use super::stage::{AFTER, OLD, Stage, said};
use super::step::{Arrival, Trace, Victim};
use super::survive::{Fault, Manner, Seen, Sort, Survivors, fault, hung};
use super::symbol;
use super::watch::Watch;
use annulus::{Kind, Order, Protocol};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;

/// Who repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repairer {
    /// A receiver that has looked in vain for long.
    Looking,
    /// A newcomer on the victim's side.
    Coming,
    /// A sender that has found the ring full for long.
    Waiting,
}

/// What becomes of the repairer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is killed.
    Killed,
    /// It is stopped, and goes on when all is done.
    Stopped,
}

/// One choice of everything.
#[derive(Clone, Copy, Debug)]
pub struct PairCell {
    /// The ring, and the victim's operation.
    pub cell: Cell,
    /// Who repairs.
    pub repairer: Repairer,
    /// How the repairer ends.
    pub end: End,
}

impl PairCell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut cells = vec![];
        for kind in Kind::ALL {
            for (op, form) in [
                (Op::Send, FormName::Typed),
                (Op::Commit, FormName::Long),
                (Op::Ack, FormName::Typed),
            ] {
                let open = match op {
                    Op::Ack => kind.many_receivers(),
                    _ => kind.many_senders(),
                };
                if !open {
                    continue;
                }
                for (repairer, end) in Self::repairs(kind, op, form) {
                    let pair = |order, fill| Self {
                        cell: Cell {
                            kind,
                            order,
                            form,
                            op,
                            fill,
                            start: Start::Index,
                        },
                        repairer,
                        end,
                    };
                    if repairer == Repairer::Waiting {
                        cells.push(pair(Order::Total, Fill::Full));
                        continue;
                    }
                    cells.push(pair(Order::Total, Fill::Empty));
                    // The rest differs little, so it is not done in every form.
                    if end == End::Stopped || form == FormName::Long {
                        continue;
                    }
                    if kind.many_senders() {
                        cells.push(pair(Order::PerSender, Fill::Empty));
                    }
                    if op == Op::Send {
                        cells.push(pair(Order::Total, Fill::Full));
                    }
                }
            }
        }
        cells
    }

    /// Who can repair what the victim leaves, and what becomes of that one.
    fn repairs(kind: Kind, op: Op, form: FormName) -> Vec<(Repairer, End)> {
        let mut repairs = vec![];
        for repairer in [Repairer::Looking, Repairer::Coming, Repairer::Waiting] {
            for end in [End::Killed, End::Stopped] {
                // Nobody can do anything while the only one of a side is stopped.
                let alone = match repairer {
                    Repairer::Looking => !kind.many_receivers(),
                    Repairer::Coming => false,
                    Repairer::Waiting => !kind.many_senders(),
                };
                let long = form == FormName::Long && repairer == Repairer::Coming;
                // Whoever finds the ring full before the victim comes is not kept waiting by a claim.
                let full = repairer == Repairer::Waiting && op != Op::Ack;
                if !(long || full || alone && end == End::Stopped) {
                    repairs.push((repairer, end));
                }
            }
        }
        repairs
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        Row::new(&self.cell.kind.to_string(), &self.scenario())
    }

    fn scenario(&self) -> String {
        let repairer = match self.repairer {
            Repairer::Looking => "looking",
            Repairer::Coming => "coming",
            Repairer::Waiting => "waiting",
        };
        let end = match self.end {
            End::Killed => "killed",
            End::Stopped => "stopped",
        };
        let state = match (self.cell.order, self.cell.fill) {
            (Order::PerSender, _) => ", per sender",
            // It waits because the ring is full.
            (_, Fill::Full) if self.repairer != Repairer::Waiting => ", full",
            _ => "",
        };
        format!("pair {} {repairer} {end}{state}", self.cell.op.name())
    }

    /// What the repairer does.
    fn repair(&self) -> Op {
        match (self.repairer, self.cell.op) {
            (Repairer::Looking, _) => Op::VoidsLooking,
            (Repairer::Coming, Op::Ack) => Op::ReturnsComing,
            (Repairer::Coming, _) => Op::VoidsComing,
            (Repairer::Waiting, _) => Op::ReturnsFull,
        }
    }

    /// Records that others commit behind the victim's open claim.
    fn behind(&self) -> usize {
        match (self.cell.order, self.repairer) {
            (_, _) if self.cell.fill == Fill::Full => usize::MAX,
            // They would be taken instead of it.
            (Order::PerSender, Repairer::Looking) => 0,
            _ => 2,
        }
    }
}

impl fmt::Display for PairCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cell.kind, self.scenario())
    }
}

/// A stage on which the victim stands before its operation; the repairer, if it was there before, before its own.
struct Scene<F: Form, K: Protocol> {
    stage: Stage<F, K>,
    repairer: Option<Victim>,
}

impl<F: Form, K: Protocol> Scene<F, K> {
    fn set(pair: &PairCell) -> Result<Self, Fault> {
        let mut stage = Stage::<F, K>::set(&Cell {
            // Of the same side, and meets nothing.
            op: match pair.cell.op {
                Op::Ack => Op::Return,
                _ => Op::Abort,
            },
            // Behind a claim it fills later.
            fill: match pair.cell.op {
                Op::Ack => pair.cell.fill,
                _ => Fill::Empty,
            },
            ..pair.cell
        })
        .map_err(hung)?;
        let mut repairer = None;
        if pair.repairer != Repairer::Coming {
            match pair.repairer {
                Repairer::Waiting if !K::KIND.many_senders() => stage.sender = None,
                Repairer::Looking if !K::KIND.many_receivers() => stage.receiver = None,
                _ => {}
            }
            let looking = stage.victim(pair.repair());
            repairer = Some(looking.map_err(|error| hung(said(error)))?);
        }
        if pair.cell.op == Op::Ack && stage.old.is_empty() {
            stage.fill(OLD, 1).map_err(hung)?;
        }
        Ok(Self { stage, repairer })
    }

    /// Forks the victim and brings it to a step.
    fn kill_victim(&mut self, pair: &PairCell, trace: &Trace, step: usize) -> Result<(), Fault> {
        let victim = self.stage.victim(pair.cell.op);
        let mut victim = victim.map_err(|error| hung(said(error)))?;
        if victim
            .advance(trace, step)
            .map_err(|error| hung(said(error)))?
            == Arrival::Strayed
        {
            return Err(hung("the victim does not go the recorded way"));
        }
        victim.kill();
        if pair.cell.op != Op::Ack {
            self.stage.fill(AFTER, pair.behind()).map_err(hung)?;
        }
        Ok(())
    }

    /// The repairer, before its operation.
    fn repairer(&mut self, pair: &PairCell) -> Result<Victim, Fault> {
        match self.repairer.take() {
            Some(there) => Ok(there),
            None => {
                let coming = self.stage.another(pair.repair());
                coming.map_err(|error| hung(said(error)))
            }
        }
    }

    /// A number for the region's bytes, but for those that differ from run to run.
    fn bytes(&self) -> Result<u64, Fault> {
        let fd = self.stage.ring.as_fd().expect("a memory file");
        let file = File::from(fd.try_clone_to_owned().map_err(|error| hung(said(error)))?);
        let len = self.stage.ring.info().region_len as usize;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| hung(said(error)))?;
        // See docs/layout.md: the time of creation, and the pid in each lease's word.
        bytes[120..128].fill(0);
        for lease in (2048..2048 + 128 * 128).step_by(128) {
            bytes[lease..lease + 2].fill(0);
            bytes[lease + 2] &= 0xc0;
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Ok(hasher.finish())
    }
}

/// The steps of the victim after which something is to be repaired, one for each state of the region.
fn window<F: Form, K: Protocol>(
    pair: &PairCell,
    trace: &Trace,
    watch: &Watch,
) -> Result<Vec<usize>, Fault> {
    let mut states = HashMap::new();
    for step in 0..=trace.len() {
        watch.at(step as u64);
        let mut scene = Scene::<F, K>::set(pair)?;
        scene.kill_victim(pair, trace, step)?;
        let state = scene.bytes()?;
        if states.contains_key(&state) {
            continue;
        }
        drop(scene.repairer.take());
        let mut survivors = Survivors::come(&mut scene.stage, &pair.cell, Manner::Newcomer)?;
        let open = survivors.drain()?.repaired > 0;
        states.insert(state, open.then_some(step));
    }
    let mut steps: Vec<_> = states.into_values().flatten().collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Records the victim, and the repairer after it.
fn record<F: Form, K: Protocol>(
    pair: &PairCell,
    watch: &Watch,
) -> Result<(Trace, Vec<usize>, Trace), Fault> {
    let scene = Scene::<F, K>::set(pair)?;
    let victim = scene.stage.victim(pair.cell.op);
    let trace = victim.and_then(|mut victim| victim.record());
    let trace = trace.map_err(|error| hung(said(error)))?;
    drop(scene);
    let steps = window::<F, K>(pair, &trace, watch)?;
    let Some(&first) = steps.first() else {
        return Err(hung("the victim leaves nothing to be repaired"));
    };
    let mut scene = Scene::<F, K>::set(pair)?;
    scene.kill_victim(pair, &trace, first)?;
    let repair = scene.repairer(pair)?.record();
    Ok((trace, steps, repair.map_err(|error| hung(said(error)))?))
}

/// The survivors' work after both. `sent` records came from the repairer, which had gone on.
fn survive<F: Form, K: Protocol>(
    stage: &mut Stage<F, K>,
    pair: &PairCell,
    step: usize,
    sent: usize,
) -> Result<(), Fault> {
    let mut survivors = Survivors::come(stage, &pair.cell, Manner::of(&pair.cell, step))?;
    let Seen {
        visible,
        missing,
        repaired,
    } = survivors.drain()?;
    if (visible, missing) != (sent, 0) {
        let text = format!(
            "{visible} records were seen that were open or the repairer's, which sent {sent}; {missing} taken ones gone"
        );
        return fault(Sort::Torn, text);
    }
    survivors.go_round(step.is_multiple_of(8))?;
    survivors.settle()?;
    drop(survivors);
    let info = stage.ring.info();
    if (info.voided + info.returned).max(repaired) > 1 {
        let text = format!(
            "one word was repaired {} times",
            info.voided + info.returned
        );
        return fault(Sort::Duplicated, text);
    }
    Ok(())
}

/// Both deaths, or a death and a stop.
fn trial<F: Form, K: Protocol>(
    pair: &PairCell,
    (victim, step): (&Trace, usize),
    (repair, after): (&Trace, usize),
    report: &mut Report,
) -> Result<(), Fault> {
    let scene = || -> Result<_, Fault> {
        let mut scene = Scene::<F, K>::set(pair)?;
        scene.kill_victim(pair, victim, step)?;
        let repairer = scene.repairer(pair)?;
        Ok((scene, repairer))
    };
    let (mut set, mut repairer) = scene()?;
    let arrival = repairer.advance(repair, after);
    if arrival.map_err(|error| hung(said(error)))? == Arrival::Strayed {
        report.strayed += 1;
        drop((set, repairer));
        (set, repairer) = scene()?;
        repairer.walk(after).map_err(|error| hung(said(error)))?;
    }
    report.row.kills += 2;
    match pair.end {
        End::Killed => {
            repairer.kill();
            survive(&mut set.stage, pair, after, 0)
        }
        End::Stopped => {
            repairer.stop().map_err(|error| hung(said(error)))?;
            let mut survivors =
                Survivors::come(&mut set.stage, &pair.cell, Manner::of(&pair.cell, after))?;
            survivors.drain()?;
            survivors.go_round(false)?;
            drop(survivors);
            if !repairer.go_on().map_err(|error| hung(said(error)))? {
                return Err(hung("the repairer went on and failed"));
            }
            // A sender finds room then, and says what it sent. A receiver finds nothing.
            let sent = match pair.repairer {
                Repairer::Waiting => set.stage.told().unwrap_or(0),
                Repairer::Looking | Repairer::Coming => 0,
            };
            set.stage.begin_again();
            survive(&mut set.stage, pair, after, sent)
        }
    }
}

/// All pairs of a cell.
pub fn kill<F: Form, K: Protocol>(pair: &PairCell, choice: Choice, watch: &Watch) -> Report {
    let mut report = Report::new(pair.row());
    let (victim, steps, repair) = match record::<F, K>(pair, watch) {
        Ok(recorded) => recorded,
        Err(fault) => {
            report.blame(&format!("{pair}, while it was recorded"), &fault);
            return report;
        }
    };
    report.steps = repair.len();
    for step in steps {
        for after in choice.of(repair.len()) {
            watch.at(after as u64);
            if let Err(fault) = trial::<F, K>(pair, (&victim, step), (&repair, after), &mut report)
            {
                let place = format!(
                    "{pair}: victim killed after step {step}, before {}, repairer after step {after} of {}, before {}",
                    symbol::name(victim.pc(step)),
                    repair.len(),
                    symbol::name(repair.pc(after))
                );
                report.blame(&place, &fault);
            }
            if report.is_enough() {
                return report;
            }
        }
    }
    report
}
