//! Charts: for each subject of each cell a bar, as long as what a message takes, on a logarithmic scale.

use crate::cell::{Outcome, Role};
use crate::report::figure;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The charts of the comparison, and the cells in each.
pub const CHARTS: &[(&str, &[&str])] = &[
    ("spsc", &["spsc-8", "spsc-64", "spsc-256", "records-16-256"]),
    ("batches", &["batch-8", "batch-64"]),
    (
        "many",
        &[
            "mpmc-8",
            "mpmc-64",
            "mpmc-256",
            "crowd-2x2-64",
            "crowd-4x4-64",
        ],
    ),
    (
        "round-trips",
        &[
            "trip-8",
            "trip-64",
            "sleep-two-processors",
            "sleep-one-processor",
        ],
    ),
    (
        "long-records",
        &["copied-64K", "copied-1M", "in-place-64K", "in-place-1M"],
    ),
    ("paced", &["paced-10", "paced-50", "paced-80"]),
    (
        "processes",
        &[
            "processes-spsc-8",
            "processes-spsc-64",
            "processes-spsc-256",
            "processes-trip-8",
            "processes-trip-64",
        ],
    ),
];

/// Pixels across, for a bar down, and around the bars.
const WIDTH: i32 = 900;
const LINE: i32 = 20;
const LEFT: i32 = 190;
const RIGHT: i32 = 90;
const TOP: i32 = 12;

/// Ours, another of ours, the machine, others: distinguishable by everyone (Okabe and Ito).
fn colour(role: Role) -> RGBColor {
    match role {
        Role::Ours | Role::Again => RGBColor(0, 114, 178),
        Role::Variant => RGBColor(86, 180, 233),
        Role::Limit => RGBColor(0, 158, 115),
        Role::Peer => RGBColor(213, 94, 0),
    }
}

/// Draws the cells below each other.
///
/// # Errors
///
/// What the drawing said.
pub fn bars(outcomes: &[&Outcome]) -> Result<String, String> {
    let lines: usize = outcomes.iter().map(|outcome| outcome.rows.len() + 2).sum();
    let height = TOP + LINE * lines as i32;
    let mut svg = String::new();
    draw(outcomes, &mut svg, height).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(
    outcomes: &[&Outcome],
    svg: &mut String,
    height: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let right = text(13).pos(Pos::new(HPos::Right, VPos::Center));
    let left = text(13).pos(Pos::new(HPos::Left, VPos::Center));
    let mut top = TOP;
    for outcome in outcomes {
        let title = format!("{} ({}, less is better)", outcome.cell, outcome.unit);
        area.draw_text(&title, &text(15), (8, top))?;
        top += LINE + 4;
        let medians = || outcome.rows.iter().map(|row| row.median.max(1e-3));
        let least = medians().fold(f64::INFINITY, f64::min) / 2.0;
        let most = medians().fold(0.0, f64::max);
        let scale = f64::from(WIDTH - LEFT - RIGHT) / (most / least).ln();
        for row in &outcome.rows {
            let end = LEFT + ((row.median.max(1e-3) / least).ln() * scale) as i32;
            let middle = top + LINE / 2;
            area.draw_text(row.subject, &right, (LEFT - 8, middle))?;
            let bar = [(LEFT, top + 3), (end, top + LINE - 3)];
            area.draw(&Rectangle::new(bar, colour(row.role).filled()))?;
            area.draw_text(&figure(row.median), &left, (end + 6, middle))?;
            top += LINE;
        }
        top += LINE - 4;
    }
    area.present()?;
    Ok(())
}
