//! What happens between two looks of a receiver: a kernel's queue that lets something happen when it is found empty.

use super::attempt;
use crate::kernel::{Attributes, Kernel, Plan, Scratch};
use crate::link::Link;
use crate::name::Name;
use crate::open::{Shared, open};
use crate::options::QueueOptions;
use crate::page::Layout;
use annulus_channel::{Fault, OpenError, TryRecvError};
use annulus_fd::names::Side;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A queue of this process.
#[derive(Default)]
struct Heap {
    records: Mutex<VecDeque<Vec<u8>>>,
    /// Done once, after a look has found nothing.
    found_empty: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    sleeps: AtomicU32,
}

impl Kernel for Heap {
    const UNIT: &'static str = "records";
    const LABEL: i64 = 0;
    const SEND: &'static str = "send";
    const RECEIVE: &'static str = "receive";
    const BELLS: bool = true;

    fn find(_: &Name) -> Result<Option<Self>, OpenError> {
        Ok(None)
    }

    fn create(_: &Name, _: &Plan) -> Result<(Self, usize), OpenError> {
        Ok((Self::default(), 64))
    }

    fn remove(&self, _: &Name) -> Result<(), OpenError> {
        Ok(())
    }

    fn identity(&self) -> Result<[u64; 2], Errno> {
        Ok([0; 2])
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes {
            capacity: 4,
            max_record: 64,
        })
    }

    fn len(&self) -> Result<usize, Errno> {
        Ok(self.records.lock().unwrap().len())
    }

    fn send(&self, _: &mut Scratch, record: &[u8], _: i64) -> Result<(), Errno> {
        self.records.lock().unwrap().push_back(record.to_owned());
        Ok(())
    }

    fn receive(&self, _: &mut Scratch, _: i64, buffer: &mut Vec<u8>) -> Result<i64, Errno> {
        let record = self.records.lock().unwrap().pop_front();
        let Some(record) = record else {
            let happens = self.found_empty.lock().unwrap().take();
            happens.into_iter().for_each(|happens| happens());
            return Err(Errno::EAGAIN);
        };
        buffer.extend(record);
        Ok(0)
    }

    fn sleep(&self, _: &Layout, _: Side, _: u32, _: Instant) -> Result<(), Fault> {
        self.sleeps.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// The companion of a test's queue, removed in the end.
struct Place(Arc<Shared<Heap>>);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.name.companion());
    }
}

/// Both ends of a queue of this name, where something happens when the receiver has found nothing.
fn scene(name: &str, happens: impl FnOnce(Link<Heap>) + Send + 'static) -> (Place, Link<Heap>) {
    let mut options = QueueOptions::new();
    options.create(true);
    let name = format!("annulus-unit-{name}-{}", std::process::id());
    let shared = open::<Heap>(&options, &Name::posix(&name).unwrap()).unwrap();
    let sender = Link::new(&shared, Side::Sender).unwrap();
    let receiver = Link::new(&shared, Side::Receiver).unwrap();
    *shared.kernel.found_empty.lock().unwrap() = Some(Box::new(|| happens(sender)));
    (Place(shared), receiver)
}

fn send(sender: &mut Link<Heap>) {
    assert!(sender.put(b"last", 0).is_ok());
}

#[test]
fn what_is_sent_before_the_close_comes_before_the_end() {
    let (_place, mut receiver) = scene("end", |mut sender| {
        send(&mut sender);
        drop(sender);
    });
    let mut buffer = Vec::new();
    assert_eq!(attempt(&mut receiver, 0, &mut buffer), Ok(0));
    assert_eq!(buffer, b"last");
    let end = attempt(&mut receiver, 0, &mut buffer);
    assert_eq!(end, Err(TryRecvError::Disconnected));
}

#[test]
fn what_is_sent_before_the_sleep_is_found_without_one() {
    let (place, mut receiver) = scene("sleep", |mut sender| {
        send(&mut sender);
        // Nobody else shall wake the receiver.
        std::mem::forget(sender);
    });
    let mut buffer = Vec::new();
    let got = receiver.wait_for(None, |link| attempt(link, 0, &mut buffer).ok());
    assert_eq!((got, &buffer[..]), (Some(0), &b"last"[..]));
    assert_eq!(place.0.kernel.sleeps.load(SeqCst), 0);
}
