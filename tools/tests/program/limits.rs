//! A limit of the system that stands in the way is named, with its number and the setting that changes it, and nothing is
//! left of what could not be made.

use std::process::Command;

/// What `annulus` says, and what is in `/dev/shm` then, in a place of its own that is prepared by this script: with its own
/// `/dev/shm`, and its own System V queues and segments. Nothing where that cannot be had.
fn apart(prepare: &str, args: &str) -> Option<(String, String)> {
    let annulus = env!("CARGO_BIN_EXE_annulus");
    let script = format!(
        "{prepare} || exit 77\n\
         {annulus} {args} </dev/null 2>&1 && echo done\n\
         echo --\n\
         ls -A /dev/shm"
    );
    let ran = Command::new("unshare")
        .args(["--mount", "--ipc", "sh", "-c", &script])
        .output();
    let ran = ran.ok().filter(|ran| ran.status.code() == Some(0));
    let Some(ran) = ran else {
        println!("skipped: a place of its own");
        return None;
    };
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    let (said, left) = text.split_once("--\n")?;
    Some((said.to_owned(), left.to_owned()))
}

#[track_caller]
fn refused(prepare: &str, url: &str, words: &[&str], left: &str) {
    let Some((said, found)) = apart(prepare, &format!("send {url} --create")) else {
        return;
    };
    assert!(said.starts_with(&format!("annulus: {url}: ")), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    assert_eq!(found, left, "{said}");
}

#[test]
fn a_segment_that_the_system_does_not_allow_names_the_setting() {
    let shm = "mount -t tmpfs none /dev/shm";
    for (setting, value, needed) in [
        ("shmmni", 0, "1 needed, the system allows 0 "),
        ("shmmax", 4096, "needed, the system allows 4096 "),
        ("shmall", 7, "needed, the system allows 7 "),
    ] {
        let set = format!("{shm} && echo {value} >/proc/sys/kernel/{setting}");
        let named = format!("(setting kernel.{setting}");
        refused(&set, "ring:sysv:0x2a", &[needed, &named], "");
    }
    // What there is already counts.
    let one = format!("{shm} && ipcmk -M 4096 >/dev/null && echo");
    let words = ["2 needed, the system allows 1 (setting kernel.shmmni)"];
    let set = format!("{one} 1 >/proc/sys/kernel/shmmni");
    refused(&set, "ring:sysv:0x2a", &words, "");
}

#[test]
fn a_queue_that_the_system_does_not_allow_names_the_setting() {
    let set = "mount -t tmpfs none /dev/shm && echo 0 >/proc/sys/kernel/msgmni";
    let words = ["1 needed, the system allows 0 (setting kernel.msgmni)"];
    refused(set, "sysv:0x2a", &words, "");
}

#[test]
fn a_full_shared_memory_is_named_with_its_mount_option() {
    let full = "mount -t tmpfs -o size=8k none /dev/shm && head -c 8192 /dev/zero >/dev/shm/full";
    for url in [
        "full-ring",
        "mq:/full",
        "sysv:0x2a",
        "classic:full",
        "sem:full",
    ] {
        refused(full, url, &["/dev/shm", "mount option size"], "full\n");
    }
    let no_more = "mount -t tmpfs -o nr_inodes=1 none /dev/shm";
    for url in [
        "full-ring",
        "ring:sysv:0x2a",
        "mq:/full",
        "sysv:0x2a",
        "classic:full",
        "sem:full",
    ] {
        refused(
            no_more,
            url,
            &["2 needed, the system allows 1 ", "nr_inodes"],
            "",
        );
    }
    // A buffer, and not all of its semaphores.
    let some = "mount -t tmpfs -o nr_inodes=3 none /dev/shm";
    refused(
        some,
        "sem:full",
        &["4 needed, the system allows 3 ", "nr_inodes"],
        "",
    );
}
