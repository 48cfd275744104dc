//! Trials of a scenario: the way through the victim's operation is recorded once; then each trial kills another
//! victim after one particular instruction.

use crate::aftermath::judge;
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::stage::{Fault, Scenario, Stage};
use annulus_tests::lab::step::{Arrival, Trace};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Runs trials of a scenario.
pub struct Trials {
    scenario: Scenario,
    trace: Trace,
}

/// Numbers the places.
static PLACES: AtomicU64 = AtomicU64::new(0);

impl Trials {
    /// Records the way through the operation.
    ///
    /// # Errors
    ///
    /// A fault of the harness.
    pub fn new(scenario: Scenario) -> Result<Self, Fault> {
        let (place, ledger) = scene()?;
        let (stage, mut victim) = Stage::new(&scenario, &place, &ledger)?;
        let trace = victim.record()?;
        drop(stage);
        Ok(Self { scenario, trace })
    }

    /// The last point at which the victim can be killed: it has executed so many instructions, and its operation has
    /// returned.
    pub fn last(&self) -> usize {
        self.trace.len()
    }

    /// Kills a victim after so many instructions.
    ///
    /// # Errors
    ///
    /// A fault of the harness, four times in a row: on a busy machine the setup may take too long.
    pub fn kill_after(&self, step: usize) -> Result<Outcome, Fault> {
        let mut tries = (0..3).map(|_| self.try_to_kill_after(step));
        tries
            .find(Result::is_ok)
            .unwrap_or_else(|| self.try_to_kill_after(step))
    }

    fn try_to_kill_after(&self, step: usize) -> Result<Outcome, Fault> {
        {
            let (place, ledger) = scene()?;
            let (stage, mut victim) = Stage::new(&self.scenario, &place, &ledger)?;
            if victim.advance(&self.trace, step)? == Arrival::There {
                return judge(stage, victim);
            }
        }
        let (place, ledger) = scene()?;
        let (stage, mut victim) = Stage::new(&self.scenario, &place, &ledger)?;
        victim.walk(step)?;
        judge(stage, victim)
    }
}

fn scene() -> Result<(Place, Ledger), Fault> {
    let number = PLACES.fetch_add(1, SeqCst);
    Ok((Place::new(number)?, Ledger::new()?))
}
