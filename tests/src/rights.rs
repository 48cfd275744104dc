//! Rights are types: what must not compile, each beside what must.
//!
//! Several may send only where the kind says so:
//!
//! ```
//! let ring: annulus::mpsc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let _second = ring.sender()?.try_clone()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```compile_fail,E0599
//! let ring: annulus::spsc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let _second = ring.sender()?.try_clone()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```compile_fail,E0599
//! let ring: annulus::spmc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let _second = ring.sender()?.try_clone()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Several may receive only where the kind says so:
//!
//! ```
//! let ring: annulus::spmc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let _second = ring.receiver()?.try_clone()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```compile_fail,E0599
//! let ring: annulus::mpsc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let _second = ring.receiver()?.try_clone()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nobody sends through a shared reference:
//!
//! ```compile_fail,E0596
//! let ring: annulus::mpmc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap()?;
//! let sender = &ring.sender()?;
//! sender.try_send(1)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing is sent while a reservation is open, nor received while a record is held:
//!
//! ```compile_fail,E0499
//! let ring: annulus::mpmc::Ring<u64> = annulus::RingOptions::new().capacity(2).heap()?;
//! let mut sender = ring.sender()?;
//! let reservation = sender.try_reserve()?;
//! sender.try_send(1)?;
//! reservation.commit();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```compile_fail,E0499
//! let ring: annulus::mpmc::Ring<u64> = annulus::RingOptions::new().capacity(2).heap()?;
//! let mut receiver = ring.receiver()?;
//! let peeked = receiver.try_peek()?;
//! receiver.try_recv()?;
//! peeked.release();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A message is plain old data; what holds a pointer is none:
//!
//! ```compile_fail,E0277
//! let ring: annulus::spsc::Ring<&'static str> = annulus::RingOptions::new().capacity(1).heap().unwrap();
//! ```
//!
//! A ring of one type has no handle for another:
//!
//! ```compile_fail,E0308
//! let ring: annulus::spsc::Ring<u64> = annulus::RingOptions::new().capacity(1).heap().unwrap();
//! ring.sender().unwrap().send(1_i64).unwrap();
//! ```
