//! What the kernel and the limits of this process allow. Each ability is tried, not looked up by version.

use std::fs;
use std::io::Write;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use transom::memory::available_memory;

use super::Check;
use crate::progress::{number, size};

/// Fewer descriptors than this do not last for a few workers.
const FEW_DESCRIPTORS: u64 = 256;
/// Less memory than this does not last for one worker.
const LITTLE_MEMORY: u64 = 256 << 20;

/// All checks that need no interpreter.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![kernel()];
    checks.extend(shared_memory());
    checks.push(pidfd());
    checks.push(huge_pages());
    checks.push(descriptors());
    checks.push(locked_memory());
    checks.push(memory());
    checks
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < (5, 14) => Check::bad("kernel", release, "Linux 5.14 or later is needed: upgrade the kernel"),
        (Some(_), Some(_)) => Check::good("kernel", format!("Linux {release}")),
        _ => Check::note("kernel", "unknown", "/proc is not mounted, so the version cannot be read; the checks below try what is needed"),
    }
}

fn shared_memory() -> Vec<Check> {
    let file = match memfd_create("transom-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
        Ok(file) => fs::File::from(file),
        Err(error) => {
            return vec![Check::bad(
                "memfd",
                format!("memfd_create: {error}"),
                "allow the system call memfd_create in the container's seccomp profile",
            )];
        }
    };
    let written = file.set_len(4096).and_then(|()| (&file).write_all(&[1]));
    let memfd = match written {
        Ok(()) => Check::good("memfd", "shared memory without a file"),
        Err(error) => Check::bad("memfd", format!("writing: {error}"), "give this process or container more memory"),
    };
    let wanted = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    let sealed = fcntl_add_seals(&file, wanted).and_then(|()| fcntl_get_seals(&file));
    let seals = match sealed {
        Ok(seals) if seals.contains(wanted) => Check::good("seals", "size and writing can be sealed (F_SEAL_FUTURE_WRITE)"),
        Ok(_) => Check::bad("seals", "the kernel takes seals and does not keep them", "Linux 5.14 or later, and no emulation of it, is needed"),
        Err(error) => Check::bad("seals", format!("F_ADD_SEALS: {error}"), "F_SEAL_FUTURE_WRITE came with Linux 5.1: upgrade the kernel"),
    };
    vec![memfd, seals]
}

fn pidfd() -> Check {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Check::good("pidfd", "a worker's end is seen at once"),
        Err(error) => Check::bad(
            "pidfd",
            format!("pidfd_open: {error}"),
            "Linux 5.3 or later is needed, with pidfd_open allowed in the container's seccomp profile",
        ),
    }
}

fn huge_pages() -> Check {
    let path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let text = fs::read_to_string(path).unwrap_or_default();
    // The chosen word stands in brackets: `always within_size [advise] never`.
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("unknown", |(word, _)| word);
    match chosen {
        "always" | "within_size" | "advise" | "force" => Check::good("huge pages", format!("{chosen}, for shared memory")),
        _ => Check::note(
            "huge pages",
            format!("{chosen}, for shared memory"),
            format!("new shared memory is filled faster after: echo advise > {path}"),
        ),
    }
}

fn descriptors() -> Check {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW_DESCRIPTORS => {
            Check::note("open files", format!("{} at most", number(limit)), "many workers need more: ulimit -n 4096")
        }
        Some(limit) => Check::good("open files", format!("{} at most", number(limit))),
        None => Check::good("open files", "no limit"),
    }
}

fn locked_memory() -> Check {
    // Nothing is locked into memory; the limit is shown since people ask.
    let limit = getrlimit(Resource::Memlock).current;
    Check::good("locked memory", limit.map_or("no limit".to_owned(), |limit| format!("{} at most; none is needed", size(limit))))
}

fn memory() -> Check {
    match available_memory() {
        Some(left) if left < LITTLE_MEMORY => Check::note(
            "memory",
            format!("{} left for this control group or machine", size(left)),
            "a Python worker needs about 100 MB, and each batch its own size twice",
        ),
        Some(left) => Check::good("memory", format!("{} left for this control group or machine", size(left))),
        None => Check::note("memory", "unknown", "/proc is not mounted, so nothing warns before memory runs out"),
    }
}
