//! Other queues in the kill laboratory: a process is killed after every instruction of its `send` and of its
//! `receive`, with others attached and living, and these go on as well as they can.
mod ledger;
mod message;
mod peer;
mod place;
mod survivor;
mod trial;

use peer::{PEERS, Side};
use trial::{Fill, Outcome, Scenario, Trials};

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let stride: usize = std::env::args()
        .nth(2)
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    for peer in PEERS.iter().filter(|p| p.name.contains(&only)) {
        for side in [Side::Sender, Side::Receiver] {
            for fill in [Fill::Half, Fill::Empty, Fill::Full] {
                if !peer.refuses && fill == Fill::Full {
                    continue;
                }
                for recover in [false, true] {
                    if recover && peer.recovery(side).is_none() {
                        continue;
                    }
                    let begin = std::time::Instant::now();
                    let trials = Trials::new(Scenario {
                        peer: *peer,
                        side,
                        fill,
                        recover,
                    })
                    .unwrap();
                    let mut sum = Outcome::default();
                    let mut bad = String::new();
                    for step in (0..=trials.last()).step_by(stride) {
                        let o = trials.kill_after(step).unwrap();
                        let c = if o.stuck > 0 {
                            'S'
                        } else if o.lost > 0 {
                            'L'
                        } else if o.later > 0 {
                            'l'
                        } else if o.duplicated > 0 {
                            'D'
                        } else if o.torn > 0 {
                            'T'
                        } else if o.own > 0 {
                            'o'
                        } else {
                            '.'
                        };
                        bad.push(c);
                        sum += o;
                    }
                    println!(
                        "{} {side:?} {fill:?} {recover} {} {sum:?} {:?}\n{bad}",
                        peer.name,
                        trials.last(),
                        begin.elapsed()
                    );
                }
            }
        }
    }
}
