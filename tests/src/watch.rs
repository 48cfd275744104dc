//! No test hangs for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What counts as a hang, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// Ends the whole run, if it is not dropped in time.
#[derive(Debug)]
pub struct Watch {
    _ended: mpsc::Sender<()>,
}

impl Watch {
    /// Begins to watch this thread's test.
    pub fn start() -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if end.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs");
                std::process::exit(101);
            }
        });
        Self { _ended: ended }
    }
}
