//! The comparison measures what it is asked to, says it in every form, and does not when something is wrong.

use crate::harness::{Annulus, annulus, sweeping, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const ALL: [&str; 16] = [
    "ring-spsc",
    "ring-mpsc",
    "ring-spmc",
    "ring-mpmc",
    "pipe",
    "fifo",
    "unix",
    "unix-seqpacket",
    "unix-dgram",
    "tcp",
    "udp",
    "mq",
    "sysv",
    "classic",
    "sem",
    "spool",
];

#[test]
fn every_transport_has_a_row_with_every_figure() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let outcome = annulus(&[
        "bench",
        "--transport",
        "all",
        "--size",
        "64",
        "--seconds",
        "0.1",
        "--rounds",
        "2",
        "--export-json",
        &at("out.json"),
        "--export-csv",
        &at("out.csv"),
        "--export-md",
        &at("out.md"),
        "--export-svg",
        &at("out"),
    ]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let table = String::from_utf8(outcome.stdout).expect("UTF-8");

    let json = fs::read(at("out.json")).expect("JSON");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert!(json["machine"]["cpus"].as_u64() > Some(0));
    assert!(
        json["command"]
            .as_str()
            .is_some_and(|line| line.contains("bench --transport all"))
    );
    assert!(json["version"].is_string());
    let rows = json["rows"].as_array().expect("rows");
    let names: Vec<_> = rows
        .iter()
        .filter_map(|row| row["transport"].as_str())
        .collect();
    assert_eq!(names, ALL);
    for row in rows {
        let name = row["transport"].as_str().expect("a name");
        assert_eq!(row["size"], 64, "{name}");
        assert_eq!(row["verified"], true, "{name}");
        for figure in [
            &row["verified_records"],
            &row["messages_per_second"],
            &row["round_trip_ns"],
            &row["paced"]["rate"],
            &row["paced"]["p50"],
            &row["paced"]["p99"],
            &row["paced"]["p999"],
            &row["paced"]["max"],
            &row["cpu_ns_per_message"],
            &row["relative"],
        ] {
            assert!(
                figure.as_f64().is_some_and(|figure| figure > 0.0),
                "{name}: {row}"
            );
        }
        let paced = |which: &str| row["paced"][which].as_u64().expect("a number");
        let rising = ["p50", "p99", "p999", "max"].map(paced);
        assert!(rising.is_sorted(), "{name}: {rising:?}");
        assert!(table.contains(name), "{table}");
    }
    assert_eq!(rows[0]["relative"], 1.0);

    let csv = fs::read_to_string(at("out.csv")).expect("CSV");
    assert_eq!(csv.lines().count(), 1 + ALL.len());
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|count| *count == columns[0]), "{csv}");
    let markdown = fs::read_to_string(at("out.md")).expect("Markdown");
    assert!(markdown.contains("| unix-dgram | 64 |"), "{markdown}");
    for chart in ["out-latency.svg", "out-throughput.svg"] {
        let svg = fs::read_to_string(at(chart)).expect("SVG");
        assert!(
            svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
            "{svg}"
        );
        assert!(ALL.iter().all(|name| svg.contains(name)), "{svg}");
    }
}

#[test]
fn a_record_too_long_for_a_transport_is_left_out_with_a_note() {
    let outcome = annulus(&[
        "bench",
        "--transport",
        "ring-spsc,udp",
        "--size",
        "16,64k",
        "--seconds",
        "0.05",
        "--rounds",
        "1",
    ]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let table = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert!(
        table.contains("udp 64k: left out: records of 65536 bytes"),
        "{table}"
    );
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("udp") && line.contains(" 16 ")),
        "{table}"
    );
}

#[test]
fn a_wrong_byte_and_a_missing_record_are_found() {
    for (transport, fault, words) in [
        (
            "ring-mpmc",
            "flip",
            &["ring-mpmc 64", "wrong from byte 32 on"][..],
        ),
        ("unix", "flip", &["unix 64", "wrong from byte 32 on"]),
        ("udp", "flip", &["udp 64", "wrong from byte 32 on"]),
        ("pipe", "lose", &["pipe 64", "came, expected"]),
        ("sem", "lose", &["sem 64", "came, expected"]),
    ] {
        let args = [
            "bench",
            "--transport",
            transport,
            "--size",
            "64",
            "--seconds",
            "0.05",
            "--rounds",
            "1",
            "--inject-fault",
            fault,
        ];
        let outcome = annulus(&args);
        outcome.says(1, words);
        assert_eq!(outcome.stdout, b"", "{transport}");
    }
}

#[test]
fn wrong_usage_of_the_comparison_is_2() {
    for (args, expected) in [
        (&["--transport", "pigeon"][..], "unix-seqpacket"),
        (&["--size", "8"], "at least 16"),
        (&["--size", "big"], "64k"),
        (&["--rate", "0"], "10k"),
        (&["--seconds", "0"], "0.001"),
        (&["--rounds", "0"], "1.."),
        (&["--quick", "--seconds", "1"], "--seconds"),
    ] {
        let outcome = annulus(&[&["bench"], args].concat());
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(expected),
            "{args:?}: {}",
            outcome.stderr
        );
    }
    let nowhere = ["bench", "--export-json", "/nowhere/out.json"];
    annulus(&nowhere).says(1, &["/nowhere/out.json"]);
}

#[test]
fn an_interrupted_comparison_leaves_nothing_behind() {
    let bench = Annulus::start(&[
        "bench",
        "--transport",
        "fifo,unix,sem,ring-spsc,mq,sysv",
        "--size",
        "64",
        "--seconds",
        "600",
    ]);
    let dir = std::env::temp_dir().join(format!("annulus-bench-{}", bench.pid()));
    let has = |what: &str| {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        entries
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().contains(what))
    };
    until("it measures", || has("fifo"));
    bench.signal(Signal::SIGTERM);
    let pid = bench.pid();
    bench.finish().quiet(143);
    assert_eq!(left(pid), [""; 0]);
}

/// What of this comparison is left anywhere.
fn left(pid: i32) -> Vec<String> {
    let dir = |path: &Path| {
        let entries = fs::read_dir(path).expect("a folder").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let named = format!("annulus-bench-{pid}");
    let key = format!("annulus.msg-41{:04x}", pid & 0xffff);
    let all = dir(&std::env::temp_dir()).chain(dir(Path::new("/dev/shm")));
    all.filter(|name| name.contains(&named) || name.contains(&key))
        .collect()
}

#[test]
fn what_a_killed_comparison_has_left_is_swept_away() {
    let _sweeping = sweeping();
    for transport in ["ring-mpmc", "mq", "sysv", "sem", "classic", "fifo", "spool"] {
        let args = ["bench", "--transport", transport, "--size", "64"];
        let bench = Annulus::start(&[&args[..], &["--seconds", "600"]].concat());
        let pid = bench.pid();
        let dir = std::env::temp_dir().join(format!("annulus-bench-{pid}"));
        let has_paths = matches!(transport, "fifo" | "spool");
        // With the directory itself; and of the semaphores all, since the C library leaves a file without a name of ours
        // where a process is killed while it makes one.
        let least = if transport == "sem" { 9 } else { 3 };
        until(&format!("{transport} measures"), || match has_paths {
            true => fs::read_dir(&dir).is_ok_and(|entries| entries.count() >= least),
            false => left(pid).len() >= least,
        });
        thread::sleep(Duration::from_millis(20));
        // It lives, and so nothing of it goes.
        annulus(&["rm", "--stale"]);
        assert!(dir.exists(), "{transport}");
        bench.signal(Signal::SIGKILL);
        assert_eq!(bench.finish().code, None);
        // Its processes die with it, but after it.
        until("nothing is left", || {
            annulus(&["rm", "--stale"]);
            left(pid).is_empty()
        });
    }
}
