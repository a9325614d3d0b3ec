//! What a worker may try with the descriptors that it was sent, and with some of its own. Each function tries several ways and says which of them
//! the kernel or the core let pass.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use transom::Code;
use transom::link::{RemoteError, ToHost};
use transom::memory::{Role, Segment};

use super::{Call, Rogue};

impl Rogue {
    /// Tries what the name says, and then gives its argument back: the host sees what has become of it.
    pub(super) fn attack(&mut self, call: &Call<'_>) {
        let passed = match call.name {
            "attacks_its_input" => attack(self.input.as_ref().expect("the argument's segment came").as_fd(), Role::Input),
            // Its own memory it may write; it may not take it away, nor let others write it.
            "attacks_its_output" => {
                let segment = self.own_segment();
                self.settle();
                attack(segment.descriptor(), Role::Output)
            }
            "attacks_with_a_segment_of_its_own" => return self.offer(call, segment_of_its_own(false)),
            "attacks_with_a_sealed_segment_of_its_own" => return self.offer(call, segment_of_its_own(true)),
            other => panic!("there is no attack {other}"),
        };
        if passed.is_empty() {
            return self.announce_and_give(call.number, call.name, call.rows, &[call.lent]);
        }
        let message = format!("these passed: {}", passed.join(", "));
        self.send(ToHost::Failed { call: call.number, error: RemoteError::new(Code::FunctionRaised, message) });
    }

    /// Waits until the host has heard `Mapped`: it answers in order.
    fn settle(&mut self) {
        self.send(ToHost::NeedSegment { len: 1 << 50 });
        self.wait_for(|message| matches!(message, transom::link::ToWorker::NoSegment { .. }));
    }

    fn offer(&self, call: &Call<'_>, descriptor: OwnedFd) {
        let bytes = ToHost::NeedSegment { len: 64 }.encode().expect("lies are well-formed");
        _ = self.socket.try_send(&bytes, Some(descriptor.as_fd()));
        self.announce_and_give(call.number, call.name, call.rows, &[call.lent]);
    }
}

fn segment_of_its_own(sealed: bool) -> OwnedFd {
    let file = memfd_create("transom-input", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    ftruncate(&file, 1 << 16).expect("memory");
    if sealed {
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL).expect("a new file can be sealed");
    }
    file
}

/// Tries to shrink, grow, empty, write, open for writing, map for writing and unseal what the descriptor means; gives the names of what was allowed.
fn attack(file: BorrowedFd<'_>, role: Role) -> Vec<&'static str> {
    let size = rustix::fs::fstat(file).expect("it is open").st_size as u64;
    let write = |file: &File| file.write_at(&[0xee; 64], 0).is_ok();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // A descriptor of one's own is opened anew even where the first one could not write. That alone does no harm.
    let reopened = OpenOptions::new().read(true).write(true).open(path).ok();
    let copy = || File::from(file.try_clone_to_owned().expect("a descriptor is left"));
    let mapped = |file: File| Segment::attach(9, Role::Output, size as usize, file.into()).is_ok();
    let tried = [
        ("shrink", ftruncate(file, 0).is_ok()),
        ("grow", ftruncate(file, 2 * size).is_ok()),
        ("punch a hole", fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096).is_ok()),
        ("write", write(&copy())),
        ("write through a new descriptor", reopened.as_ref().is_some_and(write)),
        ("map for writing", mapped(copy())),
        ("map for writing through a new descriptor", reopened.is_some_and(mapped)),
        ("write through /proc/self/mem", role == Role::Input && write_through_memory(file, size as usize)),
        ("take back the seals", fcntl_add_seals(file, SealFlags::empty()).is_ok() && !sealed(file)),
    ];
    tried.into_iter().filter(|(_, passed)| *passed).map(|(name, _)| name).collect()
}

fn sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file)
        .is_ok_and(|seals| seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL))
}

/// Writes to the read-only mapping as a debugger would.
fn write_through_memory(file: BorrowedFd<'_>, size: usize) -> bool {
    let file = file.try_clone_to_owned().expect("a descriptor is left");
    let segment = Segment::attach(8, Role::Input, size, file).expect("the host's segments are whole");
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").expect("proc is mounted");
    memory.write_at(&[0xee; 8], segment.as_ptr() as u64).is_ok()
}
