//! What comes over the wire is input: doubled, reordered, foreign and broken.

mod common;

use annulus_channel::{
    Fault, OpenReason, Receiver as _, RecvError, RecvTimeoutError, SendError, Sender as _,
};
use annulus_socket::{Address, Kind, Receiver, Sender, SocketOptions};
use common::Place;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// A greeting, by the table in `greeting.rs`.
fn greeting(role: u8, kind: u8, max: u64) -> Vec<u8> {
    let mut bytes = b"annulus1".to_vec();
    bytes.extend([role, kind, 0, 0, 0, 0, 0, 0]);
    bytes.extend(max.to_le_bytes());
    bytes
}

/// A datagram, by the table in `udp.rs`.
fn datagram(kind: u8, channel: u64, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(rest);
    bytes
}

fn port(address: &Address) -> String {
    match address {
        Address::Tcp(place) | Address::Udp(place) => place.clone(),
        _ => panic!("{address} has no port"),
    }
}

/// A receiver, and the socket of a sender made by hand.
fn udp_by_hand(channel: u64) -> (Receiver, UdpSocket) {
    let place = Place::new(Kind::Udp);
    let listener = SocketOptions::new().listen(&place.address()).unwrap();
    let hand = UdpSocket::bind("127.0.0.1:0").unwrap();
    hand.connect(port(listener.address())).unwrap();
    // Said twice, as if the answer had been lost.
    for _ in 0..2 {
        hand.send(&datagram(1, channel, 0, &greeting(1, Kind::Udp as u8, 100)))
            .unwrap();
    }
    (listener.accept().unwrap(), hand)
}

#[test]
fn what_udp_doubles_or_reorders_does_not_reach_the_receiver() {
    let (mut rx, hand) = udp_by_hand(7);
    for number in [2, 1, 2, 3, 3, 5, 4, 6_u8] {
        hand.send(&datagram(3, 7, number.into(), &[number]))
            .unwrap();
    }
    // Of another channel, of no kind, and too short to be anything: foreign.
    hand.send(&datagram(3, 8, 9, b"foreign")).unwrap();
    hand.send(&datagram(99, 7, 9, b"")).unwrap();
    hand.send(b"").unwrap();
    let (mut got, mut record) = (Vec::<u8>::new(), Vec::new());
    while rx
        .recv_timeout(&mut record, Duration::from_millis(300))
        .is_ok()
    {
        got.extend(&record);
    }
    assert_eq!(got, [2, 3, 5, 6]);
    assert_eq!((rx.lost(), rx.foreign()), (2, 3));
    // The goodbye tells of two more that never came.
    hand.send(&datagram(4, 7, 8, b"")).unwrap();
    assert_eq!(rx.recv(&mut record), Err(RecvError::Disconnected));
    assert_eq!((rx.lost(), rx.foreign()), (4, 3));
}

#[test]
fn a_udp_listener_hears_nobody_who_does_not_greet() {
    let listener = SocketOptions::new()
        .listen(&Place::new(Kind::Udp).address())
        .unwrap();
    let hand = UdpSocket::bind("127.0.0.1:0").unwrap();
    hand.connect(port(listener.address())).unwrap();
    let accept = || {
        let soon = Instant::now() + Duration::from_millis(50);
        listener.accept_deadline::<Receiver>(soon).unwrap_err()
    };
    let mut foreign = greeting(1, Kind::Udp as u8, 100);
    foreign[0] = b'A';
    hand.send(&datagram(1, 7, 0, &foreign)).unwrap();
    assert_eq!(accept().reason, OpenReason::TimedOut);
    hand.set_nonblocking(true).unwrap();
    assert!(hand.recv(&mut [0; 100]).is_err(), "nobody answers");

    // One of another version is told so.
    let mut later = greeting(1, Kind::Udp as u8, 100);
    later[7] = b'2';
    hand.send(&datagram(1, 7, 0, &later)).unwrap();
    let refused = accept().to_string();
    assert!(refused.contains("annulus1"), "{refused}");
    assert!(refused.contains("annulus2"), "{refused}");
}

#[test]
fn a_lost_welcome_is_said_again() {
    let (mut rx, hand) = udp_by_hand(7);
    hand.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut answer = [0; 100];
    let len = hand.recv(&mut answer).unwrap();
    let welcome = datagram(2, 7, 0, &greeting(2, Kind::Udp as u8, 65_490));
    assert_eq!(answer[..len], welcome);
    // The second hello is answered by the channel itself.
    assert_eq!(
        rx.recv_timeout(&mut Vec::new(), Duration::from_millis(10)),
        Err(RecvTimeoutError::Timeout)
    );
    let len = hand.recv(&mut answer).unwrap();
    assert_eq!(answer[..len], welcome);
}

#[test]
fn a_udp_listener_becomes_one_channel() {
    let place = Place::new(Kind::Udp);
    let listener = SocketOptions::new().listen(&place.address()).unwrap();
    let hand = UdpSocket::bind("127.0.0.1:0").unwrap();
    hand.connect(port(listener.address())).unwrap();
    hand.send(&datagram(1, 7, 0, &greeting(1, Kind::Udp as u8, 100)))
        .unwrap();
    let _rx: Receiver = listener.accept().unwrap();
    let taken = listener.accept::<Receiver>().unwrap_err();
    assert!(matches!(taken.reason, OpenReason::Taken { .. }), "{taken}");
    let late = SocketOptions::new()
        .connect::<Sender>(listener.address())
        .unwrap_err();
    assert_eq!(late.reason, OpenReason::Refused);
}

#[test]
fn who_greets_wrongly_is_told_apart() {
    let listener = SocketOptions::new()
        .listen(&Address::Tcp("127.0.0.1:0".into()))
        .unwrap();
    let refusal = |bytes: &[u8]| {
        let mut hand = TcpStream::connect(port(listener.address())).unwrap();
        hand.write_all(bytes).unwrap();
        let refusal = listener.accept::<Receiver>().unwrap_err().reason;
        drop(hand);
        refusal
    };
    let what = |reason| match reason {
        OpenReason::Mismatch { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(
        what(refusal(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")),
        "greeting"
    );
    assert_eq!(what(refusal(&greeting(2, Kind::Tcp as u8, 1))), "the peer");
    assert_eq!(
        what(refusal(&greeting(1, Kind::Udp as u8, 1))),
        "kind of socket"
    );
    // Who leaves without a word is passed over.
    drop(TcpStream::connect(port(listener.address())).unwrap());
    let soon = Instant::now() + Duration::from_millis(50);
    let nobody = listener.accept_deadline::<Receiver>(soon).unwrap_err();
    assert_eq!(nobody.reason, OpenReason::TimedOut);
}

#[test]
fn two_of_the_same_end_both_learn_of_it() {
    for kind in common::KINDS {
        let place = Place::new(kind);
        let listener = SocketOptions::new().listen(&place.address()).unwrap();
        let address = listener.address().clone();
        let far = std::thread::spawn(move || {
            SocketOptions::new()
                .connect::<Sender>(&address)
                .unwrap_err()
        });
        let here = listener.accept::<Sender>().unwrap_err();
        for error in [here, far.join().unwrap()] {
            assert!(
                error
                    .to_string()
                    .ends_with("the peer: expected a receiver, found a sender"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_broken_frame_is_a_fault_that_stays() {
    let listener = SocketOptions::new()
        .listen(&Address::Tcp("127.0.0.1:0".into()))
        .unwrap();
    let mut hand = TcpStream::connect(port(listener.address())).unwrap();
    hand.write_all(&greeting(1, Kind::Tcp as u8, 100)).unwrap();
    let mut rx: Receiver = listener.accept().unwrap();
    hand.write_all(&[0xfe; 64]).unwrap();
    for _ in 0..2 {
        let fault = rx.recv(&mut Vec::new()).unwrap_err();
        assert!(
            matches!(fault, RecvError::Fault(Fault::Corrupt { .. })),
            "{fault}"
        );
    }
}

#[test]
fn limits_are_named_with_their_numbers() {
    let kinds = [Kind::UnixStream, Kind::UnixSeqpacket, Kind::UnixDatagram];
    for kind in kinds {
        let error = SocketOptions::new().buffer(1 << 40).pair(kind).unwrap_err();
        assert!(
            error.to_string().ends_with("(setting net.core.wmem_max)"),
            "{error}"
        );
        assert!(
            error.to_string().contains("1099511627776 needed"),
            "{error}"
        );
    }
    for kind in common::KINDS {
        let address = Place::new(kind).address();
        let error = SocketOptions::new()
            .buffer(1 << 40)
            .listen(&address)
            .unwrap_err();
        assert!(matches!(error.reason, OpenReason::Limit { .. }), "{error}");
    }
    let error = SocketOptions::new()
        .max_record(1 << 40)
        .pair(Kind::UnixSeqpacket)
        .unwrap_err();
    assert!(
        error.to_string().ends_with("(setting net.core.wmem_max)"),
        "{error}"
    );
    let long = Address::UnixStream(format!("/tmp/{}", "x".repeat(103)).into());
    let error = SocketOptions::new().listen(&long).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("108 needed, the system allows 107 (setting sun_path"),
        "{error}"
    );
    let (mut tx, _rx) = SocketOptions::new()
        .max_record(10)
        .pair(Kind::UnixStream)
        .unwrap();
    let error = tx.send(&[0; 11]).unwrap_err();
    assert!(
        matches!(
            error,
            SendError::TooLarge {
                len: 11,
                max: 10,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_longest_record_is_what_both_ends_can_do_with() {
    for kind in common::KINDS {
        let place = Place::new(kind);
        let listener = SocketOptions::new()
            .max_record(777)
            .listen(&place.address())
            .unwrap();
        let address = listener.address().clone();
        let far = std::thread::spawn(move || {
            let tx: Sender = SocketOptions::new().connect(&address).unwrap();
            tx.max_record()
        });
        let _rx: Receiver = listener.accept().unwrap();
        assert_eq!(far.join().unwrap(), 777, "{kind}");
    }
}

#[test]
fn each_way_not_to_be_there_has_its_own_reason() {
    let options = SocketOptions::new();
    let connect = |address: &Address| options.connect::<Sender>(address).unwrap_err();
    // A port that was free a moment ago.
    let free = |kind| {
        let listener = options.listen(&Place::new(kind).address()).unwrap();
        listener.address().clone()
    };
    for kind in [Kind::Tcp, Kind::Udp] {
        let refused = connect(&free(kind));
        assert_eq!(refused.reason, OpenReason::Refused);
        assert!(
            refused
                .to_string()
                .ends_with("nobody listens there (connection refused)"),
            "{refused}"
        );
    }
    let place = Place::new(Kind::UnixStream);
    assert_eq!(connect(&place.address()).reason, OpenReason::NotFound);
    drop(std::os::unix::net::UnixListener::bind(place.path()).unwrap());
    assert_eq!(connect(&place.address()).reason, OpenReason::Refused);

    // RFC 6761: no such name ever has an address.
    let nowhere = Address::Tcp("no-such-host.invalid:7000".into());
    let soon = Instant::now() + Duration::from_secs(60);
    let late = options
        .connect_deadline::<Sender>(&nowhere, soon)
        .unwrap_err();
    for unknown in [
        connect(&nowhere),
        late,
        options.listen(&nowhere).unwrap_err(),
    ] {
        assert!(
            matches!(unknown.reason, OpenReason::UnknownHost { .. }),
            "{unknown}"
        );
        assert!(
            unknown.to_string().contains(":7000: unknown host ("),
            "{unknown}"
        );
    }

    for kind in [Kind::Tcp, Kind::Udp] {
        let first = options.listen(&Place::new(kind).address()).unwrap();
        let second = options.listen(first.address()).unwrap_err();
        assert_eq!(second.reason, OpenReason::AddressInUse);
        assert!(
            second.to_string().ends_with("the address is in use"),
            "{second}"
        );
    }
}
