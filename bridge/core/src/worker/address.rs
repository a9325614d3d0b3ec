//! Where in memory a worker died, so that its host can say what it wrote to.
//!
//! The worker's part is a signal handler that comes before all others: it writes the address and what is mapped there to the pipe of the stacks, puts
//! the handler back that was there before, and lets the fault happen again for it. The host's part finds the argument that lies there.

use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};

use crate::failure::Error;
use crate::link::HostLink;

/// Stands before an address in the pipe of the stacks.
const ADDRESS: &str = "Fault address: ";
/// The signals that say an address.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
static BEFORE: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

/// From now on a fault in this process first writes its address to `descriptor`, and then goes its way: the handlers that are there now, such as that of
/// Python's `faulthandler`, find it as if nobody had looked. Only for worker programs: a library must not take a process's signals over.
pub fn write_addresses(descriptor: RawFd) {
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
    let before = SIGNALS.map(|signal| {
        // SAFETY: an all-zero `sigaction` is one without handler, mask and flags; the call writes what is set now.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            action
        }
    });
    if BEFORE.set(before).is_err() {
        return;
    }
    for signal in SIGNALS {
        // SAFETY: as above; the handler only does what a handler may.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signal, &raw const action, null_mut());
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    if let Some(before) = BEFORE.get() {
        for (action, signal) in before.iter().zip(SIGNALS) {
            // SAFETY: puts back what was there; allowed in a handler.
            unsafe { libc::sigaction(signal, action, null_mut()) };
        }
    }
    // SAFETY: the kernel gives a handler of this kind what it says of the signal.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code <= 0 {
        // Sent by somebody: it will not come again by itself. It stays pending until this handler returns.
        // SAFETY: allowed in a handler.
        unsafe { libc::raise(signal) };
        return;
    }
    let mut line = Line::default();
    // What does not fit is cut; a line always fits.
    _ = match mapped_at(address) {
        Some((inode, offset)) => writeln!(line, "{ADDRESS}{address:#x} in {inode} at {offset}"),
        None => writeln!(line, "{ADDRESS}{address:#x}"),
    };
    // SAFETY: the descriptor is this process's own; where the function has closed it, nothing is written.
    let pipe = unsafe { BorrowedFd::borrow_raw(DESCRIPTOR.load(Ordering::Relaxed).max(0)) };
    _ = rustix::io::write(pipe, &line.bytes[..line.len]);
}

/// Text in a handler, which must not allocate.
struct Line {
    bytes: [u8; 128],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 128], len: 0 }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The file that is mapped at an address, and where in it; asks the kernel, and does not allocate.
fn mapped_at(address: usize) -> Option<(u64, u64)> {
    let maps = rustix::fs::open(c"/proc/self/maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut chunk = [0_u8; 512];
    let (mut at, mut end) = (0, 0);
    find(address, || {
        if at == end {
            (at, end) = (0, rustix::io::read(&maps, &mut chunk).ok()?);
        }
        at += 1;
        chunk.get(at - 1).copied().filter(|_| at <= end)
    })
}

/// Reads lines of `/proc/PID/maps` (`proc(5)`): `start-end rights offset device inode path`, numbers in hexadecimal but for the inode.
fn find(address: usize, mut next: impl FnMut() -> Option<u8>) -> Option<(u64, u64)> {
    loop {
        let mut numbers = [0_u64; 6];
        let mut field = 0;
        loop {
            match (next()?, field) {
                (b'\n', _) => break,
                (b'-', 0) | (b' ', 1..=5) => field += 1,
                (digit, 0..=5) => {
                    let base = if field == 5 { 10 } else { 16 };
                    // What is no digit stands in the rights and the device, which are not looked at.
                    let digit = char::from(digit).to_digit(base).unwrap_or(0);
                    numbers[field] = numbers[field].wrapping_mul(u64::from(base)).wrapping_add(u64::from(digit));
                }
                _ => {}
            }
        }
        let [start, end, _, offset, _, inode] = numbers;
        if (start..end).contains(&(address as u64)) {
            return (inode != 0).then(|| (inode, address as u64 - start + offset));
        }
    }
}

/// What a dying worker wrote: where it died, if it said so, and its stacks.
pub(super) fn split(text: &str) -> (Option<Fault>, String) {
    let is_address = |line: &&str| line.starts_with(ADDRESS);
    let fault = text.lines().find(is_address).and_then(|line| Fault::parse(&line[ADDRESS.len()..]));
    let stacks: Vec<&str> = text.lines().filter(|line| !is_address(line)).collect();
    (fault, stacks.join("\n"))
}

/// The address at which a worker died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    address: String,
    /// The file that is mapped there, and where in it.
    mapped: Option<(u64, u64)>,
}

/// For a fault at an address that is no argument's.
const NATIVE_HINT: &str = "the fault is in native code that the function called: the innermost line of the stack is the call; a failure capsule \
     (`capsules`, `--capsules`) brings it under a debugger, with `transom replay --gdb`";

impl Fault {
    /// A worker may write anything.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let address =
            words.next().filter(|word| word.len() <= 18 && word.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit())))?;
        let mapped = match [words.next(), words.next(), words.next(), words.next()] {
            [Some("in"), Some(inode), Some("at"), Some(offset)] => inode.parse().ok().zip(offset.parse().ok()),
            _ => None,
        };
        Some(Self { address: address.to_owned(), mapped })
    }

    /// The error of the death, with what was written to, where that was an argument.
    pub(super) fn explain(&self, error: Error, link: &HostLink, stacks: &str) -> Error {
        let Some(written) = self.mapped.and_then(|(inode, offset)| link.written_to(inode, offset)) else {
            let message = format!("{}, at address {}", error.message(), self.address);
            return error.with_message(message).with_hint(NATIVE_HINT);
        };
        let line = users_line(stacks).map_or_else(String::new, |line| format!("; {line}"));
        let message = format!("the function wrote to {written}, which is read-only{line} ({})", error.message());
        error.with_message(message).with_hint("arguments are shared with the host and with other calls: write to a copy, such as `numpy.array(x)`")
    }
}

/// The line of the user's at which the thread that died was: the first in its stack that is not a library's, or else the first.
fn users_line(stacks: &str) -> Option<String> {
    let dying = stacks.lines().skip_while(|line| !line.starts_with("Current thread")).skip(1);
    let frames: Vec<&str> = dying.take_while(|line| line.starts_with("  File ")).collect();
    let is_library = |line: &str| line.contains("/site-packages/") || line.contains("/lib/python");
    let line = frames.iter().find(|line| !is_library(line)).or(frames.first())?;
    let (file, rest) = line.strip_prefix("  File \"")?.split_once("\", line ")?;
    let number: u32 = rest.split(' ').next()?.parse().ok()?;
    Some(format!("line {number} of {}", file.rsplit('/').next().unwrap_or(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a-b 12\n\
                        7f0000000000-7f0000004000 r--s 00000000 00:01 4711 /memfd:transom-input (deleted)\n\
                        7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n";

    fn found(address: usize) -> Option<(u64, u64)> {
        let mut bytes = MAPS.bytes();
        find(address, || bytes.next())
    }

    #[test]
    fn an_address_is_found_in_the_file_that_is_mapped_there() {
        assert_eq!(found(0x7f00_0000_1008), Some((4711, 0x1008)));
        assert_eq!(found(0x0040_0010), Some((173_521, 0x1010)));
        assert_eq!(found(0x7ffc_0000_0000), None, "no file is mapped there");
        assert_eq!(found(8), None);
    }

    #[test]
    fn this_process_finds_its_own_program() {
        assert!(mapped_at(mapped_at as fn(usize) -> _ as usize).is_some());
        assert_eq!(mapped_at(1), None);
    }

    #[test]
    fn what_a_worker_wrote_is_taken_apart_and_not_believed() {
        let (fault, stacks) = split("Fault address: 0x7f00 in 4711 at 8\nFatal Python error\n");
        assert_eq!(fault, Some(Fault { address: "0x7f00".to_owned(), mapped: Some((4711, 8)) }));
        assert_eq!(stacks, "Fatal Python error");
        assert_eq!(split("Fault address: 0x0\n").0, Some(Fault { address: "0x0".to_owned(), mapped: None }));
        for lie in ["Fault address: \n", "Fault address: zero\n", "Fault address: 0x00000000000000000000001\n", "nothing\n"] {
            assert_eq!(split(lie).0, None, "{lie}");
        }
        assert_eq!(split("Fault address: 0x1 in x at -1\n").0.and_then(|fault| fault.mapped), None);
    }

    #[test]
    fn the_line_is_the_users() {
        let stack = "Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n  File \"/a/other.py\", line 1 in g\n\n\
                     Current thread 0x2 (most recent call first):\n  File \"/usr/lib/python3.11/ctypes/__init__.py\", line 519 in string_at\n  \
                     File \"/a/udfs.py\", line 42 in f\n";
        assert_eq!(users_line(stack).as_deref(), Some("line 42 of udfs.py"));
        assert_eq!(users_line(""), None);
    }
}
