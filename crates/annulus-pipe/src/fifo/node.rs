//! The FIFO as a file: its place, and what may be found there.

use super::{PATIENCE, RECEIVER, STEP, has_receiver};
use crate::mark::{self, OURS};
use crate::stream::no_block;
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::draft::{Draft, abandoned};
use annulus_fd::lock::{Door, try_share};
use annulus_fd::wait::pause;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, lstat};
use nix::unistd::mkfifo;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind::AlreadyExists, ErrorKind::NotFound};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a FIFO's draft is called.
pub(crate) const DRAFT: &str = "fifo";

/// A path to a FIFO that stays the same when the process goes to another directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    dir: PathBuf,
    file_name: OsString,
    /// As it was asked for, for errors.
    pub(crate) name: String,
}

impl Location {
    pub(crate) fn new(path: &Path) -> Result<Self, OpenError> {
        let name = format!("fifo:{}", path.display());
        let Some(file_name) = path.file_name() else {
            let expected = "a path that ends in a file's name";
            return Err(OpenError::new(name, OpenReason::Name { expected }));
        };
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let dir = dir
            .canonicalize()
            .map_err(|error| OpenError::os(&name, "realpath", &error))?;
        Ok(Self {
            dir,
            file_name: file_name.to_owned(),
            name,
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(&self.file_name)
    }

    pub(crate) fn os(&self, call: &'static str, errno: Errno) -> OpenError {
        OpenError::os(
            &self.name,
            call,
            &io::Error::from_raw_os_error(errno as i32),
        )
    }

    /// Opens the FIFO that is there, without waiting.
    pub(crate) fn open(&self, access: OFlag) -> Result<OwnedFd, Errno> {
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open(&self.path(), flags, Mode::empty())
    }

    /// Asserts that what is there is a FIFO of ours, by its mode. Nothing there is fine.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        match lstat(&self.path()) {
            Ok(stat) => self.check_mode(stat.st_mode),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.os("lstat", errno)),
        }
    }

    fn check_mode(&self, mode: u32) -> Result<(), OpenError> {
        let mismatch = |what, expected: &str, found: String| {
            let expected = expected.to_owned();
            let reason = OpenReason::Mismatch {
                what,
                expected,
                found,
            };
            Err(OpenError::new(&self.name, reason))
        };
        if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT != SFlag::S_IFIFO {
            return mismatch(
                "what is there",
                "a FIFO or nothing",
                "something else".to_owned(),
            );
        }
        if mode & OURS == 0 {
            let found = format!("mode {:04o}", mode & 0o7777);
            return mismatch("FIFO", "one that a receiver made (mode 1600)", found);
        }
        Ok(())
    }

    /// Asserts the same of a descriptor.
    pub(crate) fn check_fd(&self, fd: impl AsFd) -> Result<(), OpenError> {
        let stat = fstat(fd).map_err(|errno| self.os("fstat", errno))?;
        self.check_mode(stat.st_mode)
    }

    /// Unlinks the path if it still leads to the FIFO whose descriptor this is. Behind the door, and
    /// by whoever knows that its receiver is gone.
    pub(crate) fn unlink(&self, fd: impl AsFd) {
        let path = self.path();
        let (Ok(own), Ok(there)) = (fstat(fd), lstat(&path)) else {
            return;
        };
        if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino) {
            // If it cannot be removed, the next receiver fails to do so, too, and says why.
            let _ = fs::remove_file(path);
        }
    }

    /// Makes a FIFO with a receiver, and gives it its path when `prepare` is done with it; nothing if there is one already.
    pub(crate) fn make(
        &self,
        mode: u32,
        prepare: impl FnOnce(&OwnedFd) -> Result<(), OpenError>,
    ) -> Result<Option<OwnedFd>, OpenError> {
        let rights = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_ISVTX;
        let draft = loop {
            let draft = Draft::new(&self.dir, DRAFT);
            match mkfifo(draft.path(), rights) {
                Ok(()) => break draft,
                // Another's draft, and not ours to remove.
                Err(Errno::EEXIST) => draft.disown(),
                Err(errno) => return Err(self.os("mkfifo", errno)),
            }
        };
        let made = Self {
            file_name: draft.path().file_name().unwrap_or_default().to_owned(),
            ..self.clone()
        };
        let fifo = made.open_made(mode, prepare)?;
        match fs::hard_link(draft.path(), self.path()) {
            Ok(()) => Ok(Some(fifo)),
            // Somebody was faster, or took the draft for what a dead one has left.
            Err(error) if matches!(error.kind(), AlreadyExists | NotFound) => Ok(None),
            Err(error) => Err(OpenError::os(&self.name, "link", &error)),
        }
    }

    /// Removes the drafts in the same directory whose makers were killed, as far as this user may.
    pub(crate) fn remove_drafts(&self) {
        for path in abandoned(&self.dir, DRAFT).unwrap_or_default() {
            let Ok(draft) = Self::new(&path) else {
                continue;
            };
            if let Ok(Probe::Dead(dead)) = probe(&draft) {
                // If it cannot be, it is there for the next one.
                let _ = draft.bury(&dead);
            }
        }
    }

    fn open_made(
        &self,
        mode: u32,
        prepare: impl FnOnce(&OwnedFd) -> Result<(), OpenError>,
    ) -> Result<OwnedFd, OpenError> {
        let fifo = self
            .open(OFlag::O_RDONLY)
            .map_err(|errno| self.os("open", errno))?;
        // Shared, so that it cannot fail: nobody takes it alone.
        try_share(&fifo, RECEIVER, 1).map_err(|errno| self.os("fcntl(F_OFD_SETLK)", errno))?;
        // Whatever the umask has taken away.
        let mode = 0o600 | mode & 0o666;
        mark::change(&fifo, mode | OURS, 0o777 & !mode)
            .map_err(|errno| self.os("fchmod", errno))?;
        no_block(&fifo).map_err(|errno| self.os("fcntl(F_SETFL)", errno))?;
        prepare(&fifo)?;
        Ok(fifo)
    }
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Probe {
    /// Nothing.
    Free,
    /// A FIFO whose receiver lives.
    Taken,
    /// A FIFO whose receiver was killed, or a draft whose receiver does not live yet.
    Dead(OwnedFd),
}

/// Looks at what is there. The kernel takes whoever looks for a reader; senders do not, who ask for the receiver's lock.
pub(crate) fn probe(location: &Location) -> Result<Probe, OpenError> {
    location.check()?;
    let fd = match location.open(OFlag::O_RDONLY) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(Probe::Free),
        Err(errno) => return Err(location.os("open", errno)),
    };
    location.check_fd(&fd)?;
    match has_receiver(&fd) {
        Ok(true) => Ok(Probe::Taken),
        Ok(false) => Ok(Probe::Dead(fd)),
        Err(errno) => Err(location.os("fcntl(F_OFD_GETLK)", errno)),
    }
}

/// Takes the lock of whoever buries a FIFO: alone, which an OFD lock on a file that is open for reading is not. The kernel drops
/// it when the descriptor is closed. nix's own lock unlocks when it is dropped, also a copy in a forked child.
fn try_flock(fd: &OwnedFd) -> Result<bool, Errno> {
    // SAFETY: flock(2) takes no pointer.
    let done = unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match Errno::result(done) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

impl Location {
    /// Unlinks a dead receiver's FIFO. False if somebody is stopped in its door or at burying it, or if it was a draft
    /// and its receiver lives by now.
    pub(crate) fn bury(&self, dead: &OwnedFd) -> Result<bool, OpenError> {
        let deadline = Instant::now().checked_add(PATIENCE);
        // One at a time: the path leads to another FIFO as soon as somebody has buried this one.
        while !try_flock(dead).map_err(|errno| self.os("flock", errno))? {
            if !pause(deadline, STEP) {
                return Ok(false);
            }
        }
        let buried = self.bury_alone(dead);
        // It cannot fail on a lock that is held, and if it did, it would end with the descriptor.
        // SAFETY: flock(2) takes no pointer.
        let _ = unsafe { libc::flock(dead.as_raw_fd(), libc::LOCK_UN) };
        buried
    }

    /// Behind the flock. No sender enters, since there is no receiver.
    fn bury_alone(&self, dead: &OwnedFd) -> Result<bool, OpenError> {
        let door = Door::shared(dead, PATIENCE);
        let Some(_door) = door.map_err(|errno| self.os("fcntl(F_OFD_SETLK)", errno))? else {
            return Ok(false);
        };
        match has_receiver(dead) {
            Ok(true) => return Ok(false),
            Ok(false) => self.unlink(dead),
            Err(errno) => return Err(self.os("fcntl(F_OFD_GETLK)", errno)),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, Probe, probe};
    use crate::FifoOptions;
    use annulus_channel::{OpenReason, Receiver, Sender};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::stat::Mode;
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, Pid, fork};
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::Duration;
    use tempfile::TempDir;

    fn place() -> (TempDir, Location) {
        let dir = TempDir::new().unwrap();
        let location = Location::new(&dir.path().join("fifo")).unwrap();
        (dir, location)
    }

    fn dead(location: &Location) -> OwnedFd {
        match probe(location) {
            Ok(Probe::Dead(dead)) => dead,
            other => panic!("expected a dead receiver's FIFO, found {other:?}"),
        }
    }

    #[test]
    fn nobody_sends_to_one_who_looks_whether_the_receiver_lives() {
        let _alone = crate::alone();
        let (_dir, location) = place();
        let mut options = FifoOptions::new();
        options.patience(Duration::ZERO);
        options.receiver(location.path()).unwrap().die();
        let looking = dead(&location);
        // The kernel lets it open the FIFO.
        let nobody = options.sender(location.path()).map(drop).unwrap_err();
        assert_eq!(nobody.reason, OpenReason::NotFound);
        assert_eq!(location.bury(&looking), Ok(true));
        drop(looking);

        let mut rx = options.receiver(location.path()).unwrap();
        let mut tx = options.sender(location.path()).unwrap();
        tx.send(b"new").unwrap();
        assert_eq!(rx.recv(&mut vec![]), Ok(3));
    }

    #[test]
    fn the_last_sender_frees_a_dead_receivers_path_while_somebody_looks() {
        let _alone = crate::alone();
        let (_dir, location) = place();
        let rx = FifoOptions::new().receiver(location.path()).unwrap();
        let tx = FifoOptions::new().sender(location.path()).unwrap();
        rx.die();
        let looking = dead(&location);
        drop(tx);
        assert!(!location.path().exists());
        assert_eq!(location.bury(&looking), Ok(true));
    }

    #[test]
    fn a_receiver_whose_draft_was_looked_at_is_alive() {
        let _alone = crate::alone();
        let (_dir, location) = place();
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_ISVTX;
        nix::unistd::mkfifo(&location.path(), mode).unwrap();
        let looking = dead(&location);
        let _receiver = location.open_made(0o600, |_| Ok(())).unwrap();
        assert!(matches!(probe(&location), Ok(Probe::Taken)));
        assert_eq!(location.bury(&looking), Ok(false));
        drop(looking);
        assert!(matches!(probe(&location), Ok(Probe::Taken)));
    }

    /// A process that is making a FIFO here, and has come as far as its draft.
    fn maker(location: &Location) -> Pid {
        // SAFETY: the child makes a FIFO, waits to be killed, and never comes back to the test.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                let drafts = || location.dir.read_dir().unwrap().count();
                while drafts() == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                child
            }
            ForkResult::Child => {
                let _ = location.make(0o600, |_| {
                    loop {
                        nix::unistd::pause();
                    }
                });
                unreachable!("it was killed")
            }
        }
    }

    #[test]
    fn a_draft_goes_when_its_maker_is_dead_and_not_before() {
        let _alone = crate::alone();
        let (dir, location) = place();
        let count = || dir.path().read_dir().unwrap().count();
        for listed in [false, true] {
            let maker = maker(&location);
            kill(maker, Signal::SIGSTOP).unwrap();
            location.remove_drafts();
            assert_eq!(crate::remove_stale(dir.path()).unwrap(), [] as [&Path; 0]);
            assert_eq!(count(), 1, "it is stopped, not dead");
            kill(maker, Signal::SIGKILL).unwrap();
            waitpid(maker, None).unwrap();
            if listed {
                assert_eq!(crate::remove_stale(dir.path()).unwrap().len(), 1);
                assert_eq!(count(), 0);
            } else {
                let receiver = FifoOptions::new().receiver(location.path()).unwrap();
                assert_eq!(count(), 1, "the new one's path alone");
                drop(receiver);
            }
        }
    }

    #[test]
    fn a_draft_without_a_receiver_yet_is_its_living_makers() {
        let _alone = crate::alone();
        let (dir, location) = place();
        let draft = super::Draft::new(dir.path(), super::DRAFT);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_ISVTX;
        nix::unistd::mkfifo(draft.path(), mode).unwrap();
        location.remove_drafts();
        assert_eq!(crate::stale(dir.path()).unwrap(), [] as [&Path; 0]);
        assert!(draft.path().exists());
    }

    #[test]
    fn who_buries_late_leaves_the_new_receivers_fifo_alone() {
        let _alone = crate::alone();
        let (_dir, location) = place();
        let options = FifoOptions::new();
        options.receiver(location.path()).unwrap().die();
        let (first, late) = (dead(&location), dead(&location));
        assert_eq!(location.bury(&first), Ok(true));
        let _rx = options.receiver(location.path()).unwrap();
        assert_eq!(location.bury(&late), Ok(true));
        assert!(matches!(probe(&location), Ok(Probe::Taken)));
    }
}
