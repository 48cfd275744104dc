//! How one side keeps off the other's heels.
//!
//! Each look at what the other side writes next takes that line away from it, and a sender that must fetch its line back for
//! every record, or a receiver its, is several times slower. Who has found some records (or some room), but little, and then
//! none, may be faster than the other side. If it then waits about as long as a line takes there and back, the next
//! run is long and the line comes over once for all of it.
//!
//! A full ring delays whatever is sent, so its sender does that ([`Tx`]) unless it is in vain: after some waits in a row of which little
//! came it is left off for a while.
//!
//! A receiver's wait delays records, for nothing if the other side does not work at full speed: in a dialogue, or
//! on a schedule. Which it is shows only by trial ([`Rx`]). Now and then, for an *epoch* of some hundred or thousand units, a receiver waits
//! after short runs, if else it does not, or the other way round. How many times as fast units come through then as in
//! the epochs before and after is one sample; a moving average of samples decides. What is confirmed is tried less and less often.
//! A sender that comes in bursts, with nothing between them, makes samples of chance: then waits come and go, and delay little, since few runs
//! are short. Where many receive, units are those of all, and runs one's own.
//!
//! It looks at the clock at the end of an epoch, which is no system call where the kernel's clock can be read without.
//!
//! Nothing hangs on it but speed: what is there is found by the next look, [`PAUSES`] pauses later.

use crate::sync::{REAL, spin};
use std::mem;
use std::time::{Duration, Instant};

/// How long a wait is, in pauses of the processor: some hundred nanoseconds. A model has no caches.
const PAUSES: u32 = if REAL { 16 } else { 0 };

/// Whether `position` is `bound` or beyond.
#[inline]
fn is_past(bound: u64, position: u64) -> bool {
    position.wrapping_sub(bound) < 1 << 63
}

#[cold]
fn pause() {
    for _ in 0..PAUSES {
        spin();
    }
}

/// A sender's.
pub(crate) struct Tx {
    /// The room that it found last.
    run: u64,
    /// Waits in a row that were in vain.
    vain: u32,
    /// Ends of short runs at which not to wait, because it was in vain.
    rests: u32,
}

impl Tx {
    /// It waits after a run shorter than this, in units of room.
    const SHORT: u64 = 32;

    /// A run after a wait that was in vain is shorter than this.
    const LITTLE: u64 = 16;

    /// So many of those in a row are enough.
    const VAIN: u32 = 8;

    /// For so many short runs it does not wait then.
    const RESTS: u32 = 1024;

    pub(crate) fn new() -> Self {
        Self {
            run: 0,
            vain: 0,
            rests: 0,
        }
    }

    /// So much room was found.
    #[inline]
    pub(crate) fn found(&mut self, room: u64) {
        self.run = room;
    }

    /// It is used up: waits if it was little, and waiting is of use.
    #[inline]
    pub(crate) fn wait(&mut self) {
        if self.should_wait() {
            pause();
        }
    }

    #[inline]
    fn should_wait(&mut self) -> bool {
        let due = PAUSES > 0 && (1..Self::SHORT).contains(&self.run) && self.is_worth_it();
        self.run = 0;
        due
    }

    #[cold]
    fn is_worth_it(&mut self) -> bool {
        self.rests = self.rests.saturating_sub(1);
        if self.rests > 0 {
            return false;
        }
        self.vain = if self.run < Self::LITTLE {
            self.vain + 1
        } else {
            0
        };
        if self.vain == Self::VAIN {
            (self.vain, self.rests) = (0, Self::RESTS);
        }
        true
    }
}

/// A receiver's.
pub(crate) struct Rx {
    /// The records of this run.
    run: u64,
    /// Before this position nothing is to be done at the end of a run.
    due: u64,
    /// How many units are an epoch.
    epoch: u64,
    /// When this one began, and at which position; nothing before the first.
    begin: Option<(Instant, u64)>,
    /// At which position it ends.
    until: u64,
    /// Its short runs, so far.
    runs: u32,
    /// Runs of one record, in a row.
    vain: u32,
    /// Whether short runs end with a wait.
    waits: bool,
    /// Whether they do when nothing is being tried.
    choice: bool,
    /// Epochs until the next trial.
    left: u32,
    /// Epochs between trials.
    gap: u32,
    /// Nanoseconds for a unit: in epochs of the choice on average, in the last one, and in the trial after it.
    calm: Option<f32>,
    usual: f32,
    tried: Option<f32>,
    /// How many times as fast the trials are, on average, and how many there were: counted up to what it takes.
    score: f32,
    samples: u32,
}

impl Rx {
    /// A run is short if it has fewer records. Where a line takes 500 ns, 64 bytes: 27 ns with 32, 20 with this or four times as many.
    const SHORT: u64 = 128;

    /// Units in an epoch: the more the faster they come,
    const SHORTEST: u64 = 512;
    const LONGEST: u64 = 8192;

    /// so that it takes about this long, and can be told from another. It ends with the run in which it has them,
    const PERIOD: Duration = Duration::from_micros(8);

    /// or, with waits, after so many short runs.
    const RUNS: u32 = 32;

    /// So many runs in a row of one record each: waiting is in vain.
    const VAIN: u32 = 4;

    /// How much a sample weighs in the average, and how many it takes to decide.
    const WEIGHT: f32 = 0.25;
    const SAMPLES: u32 = 4;

    /// Waiting is chosen where it is so many times as fast as not waiting,
    const WORTH: f32 = 1.25;

    /// and given up where not waiting is so many times as fast.
    const AS_GOOD: f32 = 0.9;

    /// When an epoch takes so many times as long as those before it, something is tried at once.
    const SLOWER: f32 = 1.25;

    /// Samples are cut off here, so that what befell one epoch alone does not decide.
    const MOST: f32 = 2.0;

    /// Epochs between two trials, at most.
    const FAR: u32 = 256;

    /// Of a receiver at this position. It does not wait until it has tried.
    pub(crate) fn new(position: u64) -> Self {
        Self {
            run: 0,
            due: position,
            epoch: Self::SHORTEST,
            begin: None,
            until: position,
            runs: 0,
            vain: 0,
            waits: false,
            choice: false,
            left: 2,
            gap: 1,
            calm: None,
            usual: 0.0,
            tried: None,
            score: 1.0,
            samples: 0,
        }
    }

    /// A run of so many records begins.
    #[inline]
    pub(crate) fn begin(&mut self, run: u64) {
        self.run = run;
    }

    /// One more record of the run was found.
    #[inline]
    pub(crate) fn found(&mut self) {
        self.run += 1;
    }

    /// Whether anything is to be done at the end of this run, at `position`.
    #[inline]
    pub(crate) fn is_due(&self, position: u64) -> bool {
        PAUSES > 0
            && is_past(self.due, position)
            && self.run > 0
            && (self.run < Self::SHORT || is_past(self.until, position))
    }

    /// Nothing more is there, at `position`: waits if that is worth it. Says whether it did.
    #[inline]
    pub(crate) fn wait(&mut self, position: u64) -> bool {
        let waits = self.should_wait(position, Instant::now);
        if waits {
            pause();
        }
        waits
    }

    #[inline]
    fn should_wait(&mut self, position: u64, now: impl FnOnce() -> Instant) -> bool {
        let (due, run) = (self.is_due(position), self.run);
        self.run = 0;
        due && self.end(run, position, now)
    }

    /// The end of a run; true if a wait should follow.
    #[cold]
    #[inline(never)]
    fn end(&mut self, run: u64, position: u64, now: impl FnOnce() -> Instant) -> bool {
        self.runs += 1;
        self.vain = if run < 2 { self.vain + 1 } else { 0 };
        let in_vain = self.waits && self.vain == Self::VAIN;
        let is_long = self.waits && self.runs == Self::RUNS;
        if in_vain || is_long || is_past(self.until, position) {
            self.turn(position, now(), in_vain);
        }
        self.waits && run < Self::SHORT
    }

    /// An epoch is over, and the next begins.
    fn turn(&mut self, position: u64, now: Instant, in_vain: bool) {
        let was_trial = self.waits != self.choice;
        if let Some((then, from)) = self.begin.replace((now, position)) {
            let took = now.saturating_duration_since(then);
            let units = position.wrapping_sub(from);
            if is_past(self.until, position) {
                self.stretch(took);
            }
            // A clock may stand still, and so may the position, while a sender before it has not committed.
            let told = !took.is_zero() && units > 0;
            let each = told.then(|| took.as_nanos() as f32 / units as f32);
            match (was_trial, in_vain) {
                (true, true) => self.judge(1.0 / Self::MOST),
                (true, false) => self.tried = each,
                (false, true) => self.choose(false),
                (false, false) => each.into_iter().for_each(|each| self.confirm(each)),
            }
        }
        if was_trial {
            self.waits = self.choice;
            self.left = self.gap;
        } else {
            self.left -= 1;
            self.waits = self.choice != (self.left == 0);
        }
        (self.runs, self.vain) = (0, 0);
        self.until = position.wrapping_add(self.epoch);
        self.due = if self.waits { position } else { self.until };
    }

    /// Fits the length of epochs to how long one took.
    fn stretch(&mut self, took: Duration) {
        if took < Self::PERIOD {
            self.epoch = (2 * self.epoch).min(Self::LONGEST);
        } else if took > 8 * Self::PERIOD {
            self.epoch = (self.epoch / 2).max(Self::SHORTEST);
        }
    }

    /// An epoch of what is chosen took so long for a unit.
    fn confirm(&mut self, each: f32) {
        let calm = self.calm.get_or_insert(each);
        if each > Self::SLOWER * *calm {
            *calm = each;
            self.left = 1;
        } else {
            *calm += (each - *calm) * Self::WEIGHT;
        }
        let before = mem::replace(&mut self.usual, each);
        if let Some(tried) = self.tried.take() {
            self.judge((before + each) / 2.0 / tried);
        }
    }

    /// A trial was so many times as fast as what is chosen.
    fn judge(&mut self, sample: f32) {
        let sample = sample.clamp(1.0 / Self::MOST, Self::MOST);
        let weight = if self.samples == 0 { 1.0 } else { Self::WEIGHT };
        self.score += (sample - self.score) * weight;
        self.samples = (self.samples + 1).min(Self::SAMPLES);
        let enough = if self.choice {
            Self::AS_GOOD
        } else {
            Self::WORTH
        };
        if self.samples < Self::SAMPLES {
            return;
        }
        if sample <= enough {
            self.gap = (2 * self.gap).min(Self::FAR);
        } else if self.score <= enough {
            self.gap = 1;
        } else {
            self.choose(!self.choice);
        }
    }

    /// From the next epoch on. The one after it is the first to be compared with a trial.
    fn choose(&mut self, waits: bool) {
        self.choice = waits;
        (self.samples, self.gap, self.left) = (0, 1, 3);
        (self.calm, self.tried) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions go round while a test runs.
    const START: u64 = u64::MAX - 10_000;

    /// A receiver, and what a sender makes of its ways.
    struct Scene {
        pace: Rx,
        position: u64,
        now: Instant,
        waited: bool,
        waits: u64,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                pace: Rx::new(START),
                position: START,
                now: Instant::now(),
                waited: false,
                waits: 0,
            }
        }

        /// Receives `records`. They come in runs of `run.0`, one every `each.0` nanoseconds, and after a wait in runs of `run.1`, one every
        /// `each.1`. Returns how many waits there were.
        fn play(&mut self, records: u64, run: (u64, u64), each: (u64, u64)) -> u64 {
            let before = self.waits;
            let end = self.position.wrapping_add(records);
            while !is_past(end, self.position) {
                let (run, each) = if self.waited {
                    (run.1, each.1)
                } else {
                    (run.0, each.0)
                };
                self.pace.begin(run);
                self.now += Duration::from_nanos(run * each);
                self.position = self.position.wrapping_add(run);
                let now = self.now;
                self.waited = self.pace.should_wait(self.position, || now);
                self.waits += u64::from(self.waited);
            }
            self.waits - before
        }

        /// At full speed, with a sender that is three times as fast if nobody is at its heels.
        fn saturate(&mut self, records: u64) -> u64 {
            self.play(records, (2, 24), (40, 13))
        }
    }

    /// Waits in a play that does not call for them: a dozen trials while the gap doubles, and one for 256 epochs after that.
    fn few(units: u64, each: u32) -> u64 {
        (12 + units / (256 * Rx::SHORTEST)) * u64::from(each)
    }

    #[test]
    fn a_receiver_waits_where_that_is_faster() {
        let mut scene = Scene::new();
        while !scene.pace.choice {
            scene.saturate(1);
            assert!(scene.position.wrapping_sub(START) < 100_000);
        }
        // At once, and not in an epoch or two.
        assert!(scene.pace.waits);
        let waits = scene.saturate(1_000_000);
        assert!(waits > 1_000_000 / 24 * 9 / 10, "{waits} waits");
    }

    #[test]
    fn little_goes_without_waits_where_they_are_faster() {
        let mut scene = Scene::new();
        // Waits bring so little that epochs end after so many runs.
        scene.play(1_000_000, (2, 8), (40, 13));
        let waits = scene.play(1_000_000, (2, 8), (40, 13));
        assert!(waits > 1_000_000 / 8 * 97 / 100, "{waits} waits");
    }

    #[test]
    fn a_schedule_is_left_alone() {
        for (run, each) in [(16, 20), (2, 200)] {
            let waits = Scene::new().play(1_000_000, (1, run), (each, each));
            assert!(waits <= few(1_000_000, Rx::RUNS), "{waits} waits");
        }
    }

    #[test]
    fn a_dialogue_is_left_alone() {
        let mut scene = Scene::new();
        let waits = scene.play(1_000_000, (1, 1), (100, 440));
        assert!(waits <= few(1_000_000, Rx::VAIN), "{waits} waits");
    }

    #[test]
    fn a_little_faster_is_not_worth_it() {
        let mut scene = Scene::new();
        let waits = scene.play(1_000_000, (2, 24), (22, 20));
        assert!(waits <= few(1_000_000, Rx::RUNS), "{waits} waits");
    }

    #[test]
    fn who_waited_stops_when_it_becomes_a_dialogue() {
        let mut scene = Scene::new();
        scene.saturate(100_000);
        assert!(scene.pace.choice);
        let waits = scene.play(256, (1, 1), (100, 440));
        assert!(!scene.pace.choice);
        assert!(waits <= 2 * u64::from(Rx::VAIN), "{waits} waits");
    }

    #[test]
    fn who_waited_stops_when_it_becomes_a_schedule() {
        let mut scene = Scene::new();
        scene.saturate(100_000);
        assert!(scene.pace.choice);
        // No longer than until the next trial, a few of which must tell.
        scene.play(2 * 256 * Rx::SHORTEST, (1, 16), (20, 20));
        assert!(!scene.pace.choice);
    }

    #[test]
    fn what_becomes_slower_is_tried_at_once() {
        let mut scene = Scene::new();
        scene.play(1_000_000, (2, 24), (20, 20));
        assert_eq!((scene.pace.choice, scene.pace.gap), (false, Rx::FAR));
        // Four trials two epochs apart, where one was 256 epochs ahead.
        scene.saturate(32 * Rx::SHORTEST);
        assert!(scene.pace.choice);
    }

    #[test]
    fn one_sample_decides_nothing() {
        let mut pace = Rx::new(START);
        for _ in 1..Rx::SAMPLES {
            pace.judge(Rx::MOST);
            assert!(!pace.choice);
        }
        let mut pace = Rx::new(START);
        for _ in 0..Rx::SAMPLES {
            pace.judge(1.0);
        }
        pace.judge(f32::INFINITY);
        assert!(!pace.choice);
    }

    #[test]
    fn long_runs_make_epochs_too() {
        let mut scene = Scene::new();
        scene.saturate(100_000);
        assert!(scene.pace.choice);
        scene.play(256 * Rx::LONGEST, (400, 400), (20, 20));
        assert!(!scene.pace.choice);
    }

    #[test]
    fn a_trial_in_vain_never_makes_it_wait() {
        let mut pace = Rx::new(START);
        (pace.score, pace.samples) = (Rx::MOST, Rx::SAMPLES);
        pace.judge(1.0 / Rx::MOST);
        assert!(pace.score > Rx::WORTH);
        assert!(!pace.choice);
    }

    #[test]
    fn nothing_more_and_a_long_run_are_not_waited_after() {
        let mut scene = Scene::new();
        scene.saturate(100_000);
        let (mut position, now) = (scene.position, scene.now);
        let mut after = |run| {
            scene.pace.begin(run);
            position = position.wrapping_add(run);
            scene.pace.should_wait(position, || now)
        };
        assert!(after(Rx::SHORT - 1));
        assert!(!after(0));
        assert!(!after(Rx::SHORT));
        assert!(!after(Rx::LONGEST), "the end of an epoch");
    }

    #[test]
    fn a_clock_that_stands_still_decides_nothing() {
        let mut scene = Scene::new();
        scene.saturate(100_000);
        scene.play(1_000_000, (2, 24), (0, 0));
        assert!(scene.pace.choice);
    }

    #[test]
    fn epochs_fit_the_speed() {
        let mut scene = Scene::new();
        scene.play(100_000, (8, 400), (1, 1));
        assert_eq!(scene.pace.epoch, Rx::LONGEST);
        scene.play(1_000_000, (1, 1), (100, 440));
        assert_eq!(scene.pace.epoch, Rx::SHORTEST);
    }

    #[test]
    fn a_sender_waits_until_it_was_in_vain() {
        let mut pace = Tx::new();
        let mut waits_after = |room| {
            pace.found(room);
            pace.should_wait()
        };
        assert!(!waits_after(0));
        assert!(!waits_after(Tx::SHORT));
        for _ in 0..Tx::VAIN {
            assert!(waits_after(1));
        }
        for _ in 1..Tx::RESTS {
            assert!(!waits_after(1));
        }
        for _ in 0..2 * Tx::VAIN {
            assert!(waits_after(Tx::LITTLE));
        }
    }
}
