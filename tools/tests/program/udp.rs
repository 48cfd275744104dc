//! UDP, which may lose: what is lost is counted, and a pace loses nothing.

use crate::channel::{Channel, noise};
use crate::harness::until;
use nix::sys::signal::Signal;
use std::fs;
use std::os::fd::AsRawFd;
use std::time::Instant;

#[test]
fn a_few_records_pass_over_udp() {
    let channel = Channel::new("udp");
    let receiver = channel.recv(&["-e"]).finish_later();
    channel.send(&[]).write_and_finish(b"one\ntwo\nthree\n");
    let outcome = receiver.join().expect("the receiver's end");
    assert_eq!(outcome.quiet(0).stdout, b"one\ntwo\nthree\n");
}

/// What a receiver that is stopped misses of so many records, all but the last one sent meanwhile; its exit code and its words.
fn missed(more: &[&str], records: usize) -> (usize, Option<i32>, String) {
    let channel = Channel::new("udp");
    let receiver = channel.recv(&[&["-e", "--len-prefixed"], more].concat());
    let mut sender = channel.send(&["--len-prefixed"]);
    let record = |byte| [&1000_u32.to_le_bytes()[..], &[byte; 1000]].concat();
    sender.write(&record(0));
    let mut receiver = receiver;
    assert_eq!(receiver.read(1004), record(0));
    receiver.signal(Signal::SIGSTOP);
    // More than any receive buffer here holds.
    for _ in 0..records - 2 {
        sender.write(&record(1));
    }
    until("all is sent", || unread(sender.pid()) == 0);
    receiver.signal(Signal::SIGCONT);
    // Once there is room again, the last one comes.
    let mut stdout = receiver.take_stdout();
    let (heard, hear) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let (mut bytes, mut came) = ([0; 1004], 1);
        while std::io::Read::read_exact(&mut stdout, &mut bytes).is_ok() {
            came += 1;
            let _ = heard.send(());
        }
        came
    });
    while hear
        .recv_timeout(std::time::Duration::from_millis(500))
        .is_ok()
    {}
    sender.write_and_finish(&record(2));
    let outcome = receiver.finish();
    (
        reading.join().expect("it reads"),
        outcome.code,
        outcome.stderr,
    )
}

/// How many bytes wait in the pipe that is a process's standard input.
fn unread(pid: i32) -> usize {
    let stdin = fs::File::open(format!("/proc/{pid}/fd/0")).expect("its standard input");
    let mut count = 0;
    // SAFETY: FIONREAD writes one int, to which the pointer leads.
    let done = unsafe { nix::libc::ioctl(stdin.as_raw_fd(), nix::libc::FIONREAD, &raw mut count) };
    assert_eq!(done, 0);
    usize::try_from(count).expect("a count")
}

#[test]
fn what_udp_loses_is_counted() {
    const RECORDS: usize = 12_000;
    let (came, code, words) = missed(&[], RECORDS);
    assert!(came < RECORDS, "{came}");
    assert_eq!(code, Some(0), "{words}");
    let lost = RECORDS - came;
    assert_eq!(
        words,
        format!("annulus: {lost} records were lost on the way\n")
    );

    let (came, code, words) = missed(&["--no-loss"], RECORDS);
    assert_eq!(code, Some(1), "{words}");
    let lost = RECORDS - came;
    assert_eq!(
        words,
        format!("annulus: {lost} records were lost on the way\n")
    );
}

/// `ANNULUS_FILE_BYTES` as above.
#[test]
fn a_file_goes_through_udp_at_a_pace_that_its_receiver_follows() {
    let size = std::env::var("ANNULUS_FILE_BYTES").ok();
    let size = size.map_or(2_000_000, |size| size.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let bytes = noise(size);
    fs::write(&file, &bytes).expect("write");
    let channel = Channel::new("udp");
    let receiver = channel.recv(&["-e", "--no-loss"]).finish_later();
    let file = file.to_str().expect("UTF-8");
    let start = Instant::now();
    let args = ["--chunk", "8000", "--rate", "1000", file];
    channel.send(&args).finish().quiet(0);
    let least = (size / 8000 - 3) as f64 / 1000.0;
    assert!(
        start.elapsed().as_secs_f64() >= least,
        "{:?}",
        start.elapsed()
    );
    let outcome = receiver.join().expect("the receiver's end");
    outcome.quiet(0);
    assert!(outcome.stdout == bytes);
}
