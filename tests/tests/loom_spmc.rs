//! Models of the ring with one sender and many receivers.

#![cfg(loom)]

mod models;

use annulus::{Order, Spmc};

#[test]
fn passes_over_a_wrap() {
    models::passes_over_a_wrap::<Spmc>(Order::Total, Some(3));
}

#[test]
fn a_batch_comes_whole() {
    models::a_batch_comes_whole::<Spmc>(Some(3));
}

#[test]
fn the_end_comes_last() {
    models::the_end_comes_last::<Spmc>(Some(2));
}

#[test]
fn a_sender_learns_of_the_end() {
    models::a_sender_learns_of_the_end::<Spmc>(Some(2));
}

#[test]
fn a_sender_is_succeeded() {
    models::a_sender_is_succeeded::<Spmc>(Some(3));
}

#[test]
fn a_receiver_is_succeeded() {
    models::a_receiver_is_succeeded::<Spmc>(Some(1));
}

#[test]
fn leaked_guards_are_given_up() {
    models::leaked_guards_are_given_up::<Spmc>(Some(3));
}

#[test]
fn two_phases() {
    models::two_phases::<Spmc>(Some(3));
}

#[test]
fn a_receiver_comes_as_the_last_closes() {
    models::a_receiver_comes_as_the_last_closes::<Spmc>(Some(2));
}

#[test]
fn receivers_race() {
    models::receivers_race::<Spmc>(Some(2));
}

#[test]
fn a_record_comes_back() {
    models::a_record_comes_back::<Spmc>(Some(2));
}

#[test]
fn a_record_is_set_aside() {
    models::a_record_is_set_aside::<Spmc>(Some(2));
}

#[test]
fn newcomers_return_a_dead_ones_record() {
    models::newcomers_return_a_dead_ones_record::<Spmc>(Some(2));
}

#[test]
fn a_waiting_sender_returns_a_dead_ones_record() {
    models::a_waiting_sender_returns_a_dead_ones_record::<Spmc>(Some(1));
}

#[test]
fn a_late_receiver_is_not_led_astray() {
    models::a_late_receiver_is_not_led_astray(Some(2));
}

#[test]
fn what_another_holds_is_not_freed() {
    models::what_another_holds_is_not_freed::<Spmc>(Some(1));
}

#[test]
fn a_batch_is_shared() {
    models::a_batch_is_shared::<Spmc>(Some(2));
}

#[test]
fn a_newcomer_wakes_for_a_return() {
    models::a_newcomer_wakes_for_a_return::<Spmc>(Some(2));
}
