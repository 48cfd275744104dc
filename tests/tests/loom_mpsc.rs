//! Models of the ring with many senders and one receiver.

#![cfg(loom)]

mod models;

use annulus::{Mpsc, Order};

#[test]
fn passes_over_a_wrap() {
    models::passes_over_a_wrap::<Mpsc>(Order::Total, Some(3));
}

#[test]
fn passes_over_a_wrap_in_per_sender_order() {
    models::passes_over_a_wrap::<Mpsc>(Order::PerSender, Some(3));
}

#[test]
fn a_batch_comes_whole() {
    models::a_batch_comes_whole::<Mpsc>(Some(3));
}

#[test]
fn the_end_comes_last() {
    models::the_end_comes_last::<Mpsc>(Some(2));
}

#[test]
fn a_sender_learns_of_the_end() {
    models::a_sender_learns_of_the_end::<Mpsc>(Some(2));
}

#[test]
fn a_sender_is_succeeded() {
    models::a_sender_is_succeeded::<Mpsc>(Some(3));
}

#[test]
fn a_receiver_is_succeeded() {
    models::a_receiver_is_succeeded::<Mpsc>(Some(2));
}

#[test]
fn leaked_guards_are_given_up() {
    models::leaked_guards_are_given_up::<Mpsc>(Some(3));
}

#[test]
fn two_phases() {
    models::two_phases::<Mpsc>(Some(3));
}

#[test]
fn a_receiver_comes_as_the_last_closes() {
    models::a_receiver_comes_as_the_last_closes::<Mpsc>(Some(2));
}

#[test]
fn senders_race() {
    models::senders_race::<Mpsc>(Order::Total, Some(2));
}

#[test]
fn senders_race_in_per_sender_order() {
    models::senders_race::<Mpsc>(Order::PerSender, Some(2));
}

#[test]
fn senders_race_over_a_wrap() {
    models::senders_race_over_a_wrap::<Mpsc>(Some(2));
}

#[test]
fn batches_race() {
    models::batches_race::<Mpsc>(Some(2));
}

#[test]
fn a_dead_claim_is_passed_over() {
    models::a_dead_claim_is_passed_over::<Mpsc>(Some(3));
}

#[test]
fn newcomers_void_a_dead_claim() {
    models::newcomers_void_a_dead_claim::<Mpsc>(Some(2));
}

#[test]
fn a_living_claim_is_left_alone() {
    models::a_living_claim_is_left_alone::<Mpsc>(Some(3));
}

#[test]
fn an_open_claim_is_stepped_over() {
    models::an_open_claim_is_stepped_over::<Mpsc>(Some(2));
}

#[test]
fn the_last_sender_ends_it() {
    models::the_last_sender_ends_it::<Mpsc>(Some(2));
}
