//! Do pipes and FIFOs keep the contract? The conformance suite of `annulus-channel`.

use annulus_channel::conformance::{self, Death, Transport};
use annulus_pipe::{FifoOptions, FifoReceiver, FifoSender, PipeOptions, PipeReceiver, PipeSender};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tempfile::TempDir;

struct Pipes(PipeOptions);

impl Transport for Pipes {
    type Tx = PipeSender;
    type Rx = PipeReceiver;

    fn pair(&self) -> (PipeSender, PipeReceiver) {
        self.0.pair().expect("a new pipe")
    }

    fn kill_tx(&self, tx: PipeSender) -> Option<Death<'_, PipeSender>> {
        tx.die();
        Some(Death::Final)
    }

    fn kill_rx(&self, rx: PipeReceiver) -> Option<Death<'_, PipeReceiver>> {
        rx.die();
        Some(Death::Final)
    }
}

/// FIFOs in a directory of their own.
struct Fifos {
    options: FifoOptions,
    dir: TempDir,
    number: AtomicU32,
}

impl Fifos {
    fn new(options: &FifoOptions) -> Self {
        Self {
            options: options.clone(),
            dir: TempDir::new().expect("a new directory"),
            number: AtomicU32::new(0),
        }
    }

    fn left(&self) -> usize {
        self.dir.path().read_dir().expect("it is there").count()
    }
}

impl Transport for Fifos {
    type Tx = FifoSender;
    type Rx = FifoReceiver;

    fn pair(&self) -> (FifoSender, FifoReceiver) {
        let number = self.number.fetch_add(1, Relaxed);
        let path = self.dir.path().join(number.to_string());
        let rx = self.options.receiver(&path).expect("a new FIFO");
        let tx = self.options.sender(&path).expect("it has a receiver");
        (tx, rx)
    }

    fn more_tx(&self, beside: &FifoSender) -> Option<FifoSender> {
        self.options.sender(beside.path()).ok()
    }

    fn more_rx(&self, beside: &FifoReceiver) -> Option<FifoReceiver> {
        self.options.receiver(beside.path()).ok()
    }

    fn kill_tx(&self, tx: FifoSender) -> Option<Death<'_, FifoSender>> {
        tx.die();
        Some(Death::Final)
    }

    fn kill_rx(&self, rx: FifoReceiver) -> Option<Death<'_, FifoReceiver>> {
        rx.die();
        Some(Death::Final)
    }
}

#[test]
fn pipe() {
    conformance::all(&Pipes(PipeOptions::new()));
}

#[test]
fn the_smallest_pipe() {
    conformance::all(&Pipes(PipeOptions::new().capacity(4096).clone()));
}

#[test]
fn a_larger_pipe() {
    conformance::all(&Pipes(PipeOptions::new().capacity(1 << 20).clone()));
}

fn fifos(options: &FifoOptions) {
    let fifos = Fifos::new(options);
    conformance::all(&fifos);
    assert_eq!(fifos.left(), 0, "FIFOs are left behind");
}

#[test]
fn fifo() {
    fifos(&FifoOptions::new());
}

#[test]
fn the_smallest_fifo() {
    fifos(FifoOptions::new().capacity(4096));
}

#[test]
fn a_larger_fifo() {
    fifos(FifoOptions::new().capacity(1 << 20));
}
