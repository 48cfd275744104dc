//! Hosts and ports, and the errors of the standard library's sockets.

use crate::address::Address;
use crate::limits::os;
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use std::io;
use std::net::ToSocketAddrs;

/// The first of the addresses behind a name that can be bound.
pub(crate) fn bind_any<T>(
    address: &Address,
    place: &str,
    bind: impl Fn(std::net::SocketAddr) -> io::Result<T>,
) -> Result<T, OpenError> {
    let mut last = no_address();
    for at in resolve(place).map_err(|reason| address.error(reason))? {
        match bind(at) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = io_reason("bind", &error),
        }
    }
    Err(address.error(last))
}

/// The addresses behind `HOST:PORT`.
pub(crate) fn resolve(
    place: &str,
) -> Result<impl Iterator<Item = std::net::SocketAddr>, OpenReason> {
    place.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => OpenReason::Name {
            expected: "HOST:PORT",
        },
        _ => OpenReason::UnknownHost {
            resolver: error.to_string(),
        },
    })
}

/// The reason of a host without any address.
pub(crate) fn no_address() -> OpenReason {
    OpenReason::UnknownHost {
        resolver: "it has no address".to_owned(),
    }
}

pub(crate) fn nonblocking(result: io::Result<()>) -> Result<(), OpenReason> {
    result.map_err(|error| io_reason("ioctl", &error))
}

/// The reason of a call that the standard library made.
pub(crate) fn io_reason(call: &'static str, error: &io::Error) -> OpenReason {
    os(call, Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
