//! Does every socket keep the contract? The conformance suite of `annulus-channel` over each kind: as a pair,
//! and as two ends that have met at an address, whichever of them listened.

mod common;

use annulus_channel::conformance::{self, Death, Transport};
use annulus_socket::{Address, End, Kind, Listener, Receiver, Sender, SocketOptions};
use common::Place;
use common::actor::PATIENCE;
use std::thread;
use std::time::Duration;

/// Makes channels of one kind.
struct Sockets {
    kind: Kind,
    how: How,
    options: SocketOptions,
}

#[derive(Clone, Copy)]
enum How {
    Pair,
    ReceiverListens,
    SenderListens,
}

impl Sockets {
    fn new(kind: Kind, how: How) -> Self {
        let mut options = SocketOptions::new();
        // Several clauses fill a channel: let that be quick.
        options.buffer(64 << 10);
        Self { kind, how, options }
    }
}

/// Lets one end come to another that listens.
fn meet<Here, There>(options: &SocketOptions, address: &Address) -> (Here, There)
where
    Here: End,
    There: End + Send + 'static,
{
    let listener: Listener = options.listen(address).expect("a free address");
    let (address, options) = (listener.address().clone(), options.clone());
    let far = thread::spawn(move || options.connect(&address).expect("it listens"));
    let here = listener.accept().expect("somebody comes");
    (here, far.join().expect("it has come"))
}

impl Transport for Sockets {
    type Tx = Sender;
    type Rx = Receiver;

    fn pair(&self) -> (Sender, Receiver) {
        let place = Place::new(self.kind);
        match self.how {
            How::Pair => self.options.pair(self.kind).expect("a pair"),
            How::ReceiverListens => {
                let (rx, tx) = meet(&self.options, &place.address());
                (tx, rx)
            }
            How::SenderListens => meet(&self.options, &place.address()),
        }
    }

    fn kill_tx(&self, tx: Sender) -> Option<Death<'_, Sender>> {
        tx.die();
        Some(Death::Final)
    }

    fn kill_rx(&self, rx: Receiver) -> Option<Death<'_, Receiver>> {
        rx.die();
        Some(Death::Final)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn prompt(&self) -> bool {
        !matches!(self.kind, Kind::Tcp | Kind::Udp)
    }
}

macro_rules! keeps_the_contract {
    ($($name:ident: $kind:ident, $how:ident;)*) => { $(
        #[test]
        fn $name() {
            conformance::all(&Sockets::new(Kind::$kind, How::$how));
        }
    )* };
}

keeps_the_contract! {
    unix_stream_pair: UnixStream, Pair;
    unix_stream_receiver_listens: UnixStream, ReceiverListens;
    unix_stream_sender_listens: UnixStream, SenderListens;
    unix_seqpacket_pair: UnixSeqpacket, Pair;
    unix_seqpacket_receiver_listens: UnixSeqpacket, ReceiverListens;
    unix_seqpacket_sender_listens: UnixSeqpacket, SenderListens;
    unix_datagram_pair: UnixDatagram, Pair;
    unix_datagram_receiver_listens: UnixDatagram, ReceiverListens;
    unix_datagram_sender_listens: UnixDatagram, SenderListens;
    tcp_receiver_listens: Tcp, ReceiverListens;
    tcp_sender_listens: Tcp, SenderListens;
    udp_receiver_listens: Udp, ReceiverListens;
    udp_sender_listens: Udp, SenderListens;
}

/// The same with the sizes that one gets without asking.
#[test]
fn buffers_as_the_system_has_them() {
    for kind in [
        Kind::UnixStream,
        Kind::UnixSeqpacket,
        Kind::UnixDatagram,
        Kind::Tcp,
        Kind::Udp,
    ] {
        let how = How::ReceiverListens;
        let options = SocketOptions::new();
        let sockets = Sockets { kind, how, options };
        conformance::boundaries(&sockets);
        conformance::bounds(&sockets);
        conformance::closed(&sockets);
        conformance::dead(&sockets);
    }
}
