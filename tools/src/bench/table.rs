//! The table for people, on the terminal and as Markdown, and the same for machines as CSV.

use super::report::Report;
use super::row::Row;
use std::fmt::Write as _;

const HEADS: [&str; 12] = [
    "transport",
    "size",
    "msg/s",
    "GB/s",
    "round trip p50",
    "paced p50",
    "p99",
    "p99.9",
    "max",
    "at rate",
    "CPU ns/msg",
    "relative",
];

/// The table in columns.
pub fn text(report: &Report) -> String {
    let lines: Vec<_> = std::iter::once(HEADS.map(str::to_owned))
        .chain(report.rows.iter().map(cells))
        .collect();
    let widths: [usize; HEADS.len()] = std::array::from_fn(|column| {
        let width = |line: &[String; HEADS.len()]| line[column].chars().count();
        lines.iter().map(width).max().unwrap_or(0)
    });
    let mut text = String::new();
    let mut size = None;
    for (number, line) in lines.iter().enumerate() {
        // A gap before each size.
        if number > 0 && size.replace(&line[1]) != Some(&line[1]) {
            text.push('\n');
        }
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// The table, the machine and what a reader has to know.
pub fn markdown(report: &Report) -> String {
    let mut text = format!(
        "`{}`, version {}, on {}\n\n",
        report.command, report.version, report.machine
    );
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text.push_str(&line(&HEADS.map(str::to_owned)));
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(HEADS.len() - 1));
    text.push('\n');
    for row in &report.rows {
        text.push_str(&line(&cells(row)));
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// One line for each row; times in nanoseconds.
pub fn csv(report: &Report) -> String {
    let mut text = String::from(
        "transport,size,verified_records,messages_per_second,bytes_per_second,round_trip_ns,\
         paced_rate,paced_rate_reached,paced_p50_ns,paced_p99_ns,paced_p999_ns,paced_max_ns,\
         cpu_ns_per_message,relative,lost,rounds,spread\n",
    );
    for row in &report.rows {
        let relative = row.relative.map(|relative| format!("{relative:.5}"));
        let _ = writeln!(
            text,
            "{},{},{},{:.1},{:.1},{},{:.1},{:.1},{},{},{},{},{:.1},{},{},{},{:.2}",
            row.transport,
            row.size,
            row.verified_records,
            row.messages_per_second,
            row.bytes_per_second,
            row.round_trip_ns,
            row.paced.rate,
            row.paced.rate_reached,
            row.paced.p50,
            row.paced.p99,
            row.paced.p999,
            row.paced.max,
            row.cpu_ns_per_message,
            relative.unwrap_or_default(),
            row.lost,
            row.rounds,
            row.spread
        );
    }
    text
}

fn cells(row: &Row) -> [String; HEADS.len()] {
    let paced = &row.paced;
    [
        row.transport.clone(),
        size(row.size),
        count(row.messages_per_second),
        significant(row.bytes_per_second / 1e9),
        time(row.round_trip_ns),
        time(paced.p50),
        time(paced.p99),
        time(paced.p999),
        time(paced.max),
        format!("{}/s", count(paced.rate_reached)),
        format!("{:.0}", row.cpu_ns_per_message),
        row.relative.map_or("-".to_owned(), significant),
    ]
}

/// A size as it is asked for: `64`, `1k`, `1M`.
pub fn size(bytes: usize) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Three figures and a unit: `812`, `34.5k`, `21.7M`.
fn count(value: f64) -> String {
    match value {
        999.5.. if value < 999_500.0 => format!("{}k", significant(value / 1e3)),
        999_500.0.. => format!("{}M", significant(value / 1e6)),
        _ => format!("{value:.0}"),
    }
}

/// Nanoseconds, in what unit is readable.
pub fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{} µs", significant(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", significant(value / 1e6)),
        _ => format!("{} s", significant(value / 1e9)),
    }
}

/// Three figures.
fn significant(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        _ => 5,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (812.2, "812"),
            (34_512.0, "34.5k"),
            (21_712_345.0, "21.7M"),
        ] {
            assert_eq!(count(value), text);
        }
        for (value, text) in [
            (81, "81 ns"),
            (6_810, "6.81 µs"),
            (12_345_678, "12.3 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(time(value), text);
        }
        for (value, text) in [(64, "64"), (1024, "1k"), (65536, "64k"), (1 << 20, "1M")] {
            assert_eq!(size(value), text);
        }
        assert_eq!(significant(0.01234), "0.0123");
    }
}
