//! What has the name but is no ring: a clear error, exit code 5, and nothing is touched.

use crate::harness::{Name, annulus, annulus_with};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Every command on `path` fails with 5 and says so.
#[track_caller]
fn refused(path: &Path) {
    let name = path.to_str().expect("UTF-8");
    for args in [
        &["recv", name][..],
        &["recv", name, "--create"],
        &["recv", name, "--wait"],
        &["send", name],
        &["send", name, "--create"],
        &["rm", name],
    ] {
        let outcome = annulus_with(args, b"record\n");
        assert_eq!(outcome.code, Some(5), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, b"", "{args:?}");
        assert!(
            outcome.stderr.contains("expected"),
            "{args:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    refused(folder.path());
    assert!(folder.path().is_dir());

    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).expect("mkfifo");
    refused(&fifo);
    assert!(fifo.exists());

    refused(Path::new("/dev/null"));
    assert!(Path::new("/dev/null").exists());
}

#[test]
fn a_symlink_is_refused_even_to_a_ring() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ring, link) = (folder.path().join("ring"), folder.path().join("link"));
    let name = ring.to_str().expect("UTF-8");
    annulus_with(&["send", name, "--create"], b"record\n").quiet(0);
    symlink(&ring, &link).expect("symlink");
    refused(&link);
    assert_eq!(annulus(&["recv", name, "-e"]).quiet(0).stdout, b"record\n");
}

#[test]
fn a_file_that_is_no_ring_is_refused_and_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "no ring, but somebody's letter\n".repeat(1000);
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("zeros", &[0; 100_000]),
        ("short", &text.as_bytes()[..100]),
        ("text", text.as_bytes()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("write");
        refused(&path);
        assert!(
            fs::read(&path).expect("read") == bytes,
            "{name} was changed"
        );
    }
}

#[test]
fn zeros_in_shared_memory_are_refused_and_untouched() {
    let name = Name::new();
    fs::write(name.path(), [0; 65536]).expect("write");
    let outcome = annulus_with(&["send", &name.0, "--create"], b"record\n");
    outcome.says(5, &["expected"]);
    annulus(&["rm", &name.0]).says(5, &["expected"]);
    assert!(fs::read(name.path()).expect("read") == [0; 65536]);
}

#[test]
fn a_truncated_ring_is_refused_and_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = folder.path().join("ring");
    annulus_with(
        &["send", ring.to_str().expect("UTF-8"), "--create"],
        b"record\n",
    )
    .quiet(0);
    let bytes = fs::read(&ring).expect("read");
    for len in [bytes.len() - 1, bytes.len() / 2, 4096, 100] {
        let cut = folder.path().join(format!("cut-{len}"));
        fs::write(&cut, &bytes[..len]).expect("write");
        let name = cut.to_str().expect("UTF-8");
        annulus(&["recv", name]).says(5, &["expected"]);
        annulus_with(&["send", name, "--create"], b"record\n").says(5, &["expected"]);
        assert!(
            fs::read(&cut).expect("read") == bytes[..len],
            "{len}: changed"
        );
    }
}
