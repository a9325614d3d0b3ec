//! `transom-native-worker`: the program that a pool starts to run functions of shared libraries. The link's descriptor is its last argument.
//! A debugger is started on it as `transom-native-worker --replay CAPSULE A..B`.

use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [replay, capsule, rows] = words.as_slice()
        && replay == "--replay"
    {
        return match transom_ffi::library::replay(capsule, rows) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        };
    }
    let last = std::env::args_os().next_back().and_then(|text| text.to_str()?.parse().ok());
    // SAFETY: asks about a number, which need not be a descriptor.
    let Some(descriptor) = last.filter(|&descriptor: &i32| unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0) else {
        return fail("this program is started by a pool of Transom, and its last argument is a descriptor");
    };
    // In this order: the handler of addresses goes before that of the stacks, and hands over to it.
    transom::worker::write_stacks().into_iter().for_each(transom::worker::write_addresses);
    transom::worker::use_large_signal_stack();
    // SAFETY: the host opened the descriptor for this process alone and says its number; nothing else here uses it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    match transom_ffi::library::serve_libraries(descriptor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "it is what a program has to say")]
fn fail(what: &str) -> ExitCode {
    eprintln!("transom-native-worker: {what}");
    ExitCode::FAILURE
}
