//! Models of the ring with one sender and one receiver.

#![cfg(loom)]

mod models;

use annulus::{Order, Spsc};

#[test]
fn passes_over_a_wrap() {
    models::passes_over_a_wrap::<Spsc>(Order::Total, None);
}

#[test]
fn a_batch_comes_whole() {
    models::a_batch_comes_whole::<Spsc>(None);
}

#[test]
fn the_end_comes_last() {
    models::the_end_comes_last::<Spsc>(Some(3));
}

#[test]
fn a_sender_learns_of_the_end() {
    models::a_sender_learns_of_the_end::<Spsc>(Some(3));
}

#[test]
fn a_sender_is_succeeded() {
    models::a_sender_is_succeeded::<Spsc>(None);
}

#[test]
fn a_receiver_is_succeeded() {
    models::a_receiver_is_succeeded::<Spsc>(Some(2));
}

#[test]
fn leaked_guards_are_given_up() {
    models::leaked_guards_are_given_up::<Spsc>(None);
}

#[test]
fn two_phases() {
    models::two_phases::<Spsc>(None);
}

#[test]
fn a_receiver_comes_as_the_last_closes() {
    models::a_receiver_comes_as_the_last_closes::<Spsc>(Some(2));
}
