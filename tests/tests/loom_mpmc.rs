//! Models of the ring with many senders and many receivers.

#![cfg(loom)]

mod models;

use annulus::{Mpmc, Order};

#[test]
fn passes_over_a_wrap() {
    models::passes_over_a_wrap::<Mpmc>(Order::Total, Some(3));
}

#[test]
fn passes_over_a_wrap_in_per_sender_order() {
    models::passes_over_a_wrap::<Mpmc>(Order::PerSender, Some(3));
}

#[test]
fn a_batch_comes_whole() {
    models::a_batch_comes_whole::<Mpmc>(Some(3));
}

#[test]
fn the_end_comes_last() {
    models::the_end_comes_last::<Mpmc>(Some(2));
}

#[test]
fn a_sender_learns_of_the_end() {
    models::a_sender_learns_of_the_end::<Mpmc>(Some(2));
}

#[test]
fn a_sender_is_succeeded() {
    models::a_sender_is_succeeded::<Mpmc>(Some(3));
}

#[test]
fn a_receiver_is_succeeded() {
    models::a_receiver_is_succeeded::<Mpmc>(Some(1));
}

#[test]
fn leaked_guards_are_given_up() {
    models::leaked_guards_are_given_up::<Mpmc>(Some(3));
}

#[test]
fn two_phases() {
    models::two_phases::<Mpmc>(Some(3));
}

#[test]
fn a_receiver_comes_as_the_last_closes() {
    models::a_receiver_comes_as_the_last_closes::<Mpmc>(Some(2));
}

#[test]
fn senders_race() {
    models::senders_race::<Mpmc>(Order::Total, Some(2));
}

#[test]
fn senders_race_in_per_sender_order() {
    models::senders_race::<Mpmc>(Order::PerSender, Some(2));
}

#[test]
fn senders_race_over_a_wrap() {
    models::senders_race_over_a_wrap::<Mpmc>(Some(1));
}

#[test]
fn batches_race() {
    models::batches_race::<Mpmc>(Some(2));
}

#[test]
fn a_dead_claim_is_passed_over() {
    models::a_dead_claim_is_passed_over::<Mpmc>(Some(2));
}

#[test]
fn newcomers_void_a_dead_claim() {
    models::newcomers_void_a_dead_claim::<Mpmc>(Some(1));
}

#[test]
fn a_living_claim_is_left_alone() {
    models::a_living_claim_is_left_alone::<Mpmc>(Some(3));
}

#[test]
fn an_open_claim_is_stepped_over() {
    models::an_open_claim_is_stepped_over::<Mpmc>(Some(2));
}

#[test]
fn the_last_sender_ends_it() {
    models::the_last_sender_ends_it::<Mpmc>(Some(2));
}

#[test]
fn receivers_race() {
    models::receivers_race::<Mpmc>(Some(1));
}

#[test]
fn a_record_comes_back() {
    models::a_record_comes_back::<Mpmc>(Some(2));
}

#[test]
fn a_record_is_set_aside() {
    models::a_record_is_set_aside::<Mpmc>(Some(2));
}

#[test]
fn newcomers_return_a_dead_ones_record() {
    models::newcomers_return_a_dead_ones_record::<Mpmc>(Some(2));
}

#[test]
fn a_waiting_sender_returns_a_dead_ones_record() {
    models::a_waiting_sender_returns_a_dead_ones_record::<Mpmc>(Some(1));
}

#[test]
fn what_another_holds_is_not_freed() {
    models::what_another_holds_is_not_freed::<Mpmc>(Some(1));
}

#[test]
fn a_batch_is_shared() {
    models::a_batch_is_shared::<Mpmc>(Some(2));
}

#[test]
fn a_newcomer_wakes_for_a_return() {
    models::a_newcomer_wakes_for_a_return::<Mpmc>(Some(2));
}
