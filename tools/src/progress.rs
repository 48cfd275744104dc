//! A progress bar on the standard error, for work that takes more than a moment.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Work shorter than this shows no bar.
const MOMENT: Duration = Duration::from_secs(1);

/// Bytes between two looks at the clock.
const STRIDE: u64 = 1 << 20;

const KNOWN: &str = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {bytes}, {bytes_per_sec}";

/// Counts bytes, and shows the count where the user can see it: on a terminal.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    shown: bool,
    bytes: u64,
    /// The count at which to look at the clock again.
    next: u64,
}

impl Progress {
    /// Progress towards `total` bytes, if that is known. Nothing is shown unless `wanted`, nor where
    /// the standard error is no terminal.
    pub fn new(total: Option<u64>, wanted: bool) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(KNOWN)),
            None => ProgressBar::no_length().with_style(style(UNKNOWN)),
        };
        bar.set_draw_target(ProgressDrawTarget::hidden());
        Self {
            bar,
            start: Instant::now(),
            shown: !wanted,
            bytes: 0,
            next: STRIDE,
        }
    }

    /// So many bytes more.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= self.next {
            self.show();
        }
    }

    /// Shows the count now; for a moment when there is nothing else to do.
    pub fn show(&mut self) {
        self.next = self.bytes + STRIDE;
        if !self.shown && self.start.elapsed() > MOMENT {
            self.shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(self.bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A style of the bar, from a template that is known to be right.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
