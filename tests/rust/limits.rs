//! What workers may take, and what becomes of those that take more.
#![expect(clippy::print_stdout, reason = "a part that cannot be tested here is said to be skipped")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getrlimit, kill_process};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::{checked, function, native, numbers, scratch, values, wait_until_idle};
use transom::{Code, Error, MapOptions, Pool, PoolBuilder};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

fn one() -> PoolBuilder {
    native(WORKER, 1)
}

/// The error of a call that must fail; the next call must work.
fn fails(pool: &Pool, name: &str) -> Error {
    let error = pool.call_blocking(&function(name), numbers(0, 1)).unwrap_err();
    works(pool);
    assert_eq!((error.function(), error.batch(), error.rows()), (Some(name), Some(0), Some(0..1)), "{error}");
    error
}

fn works(pool: &Pool) {
    assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 2)).unwrap()), [1, 2]);
}

/// Groups of workers that this process has made and not removed.
fn groups() -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let homes = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some(Path::new("/sys/fs/cgroup").join(parts.next()?).join(parts.next()?.trim_start_matches('/')))
    });
    let mine = format!("transom-{}-", std::process::id());
    let names = homes.filter_map(|home| fs::read_dir(home).ok()).flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&mine)).collect()
}

fn assert_no_groups() {
    let begun = Instant::now();
    while !groups().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", groups());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn memory_beyond_the_limit_ends_the_worker_with_both_numbers() {
    checked(|| {
        let pool = one().worker_memory(64 << 20).build().unwrap();
        let error = fails(&pool, "eat_100");
        assert_eq!(error.code(), Code::WorkerOutOfMemory, "{error}");
        assert!(error.message().starts_with("out of memory: limit 64 MiB, used "), "{error}");
        assert!(error.worker().unwrap().contains("0 batches, "), "{error}");
        // What the limit allows, it allows; and shared memory is none of the worker's own.
        let rows = (100 << 20) / 8;
        assert_eq!(pool.call_blocking(&function("identity"), numbers(0, rows)).unwrap().num_rows(), rows);
        pool.call_blocking(&function("plus_one"), numbers(0, 1000)).unwrap();
        drop(pool);
        assert_no_groups();
    });
}

#[test]
fn a_batch_of_a_stream_that_takes_too_much_is_named() {
    checked(|| {
        let pool = one().worker_memory(64 << 20).build().unwrap();
        let source = (0..3).map(|i| Ok(numbers(i, 10)));
        let results: Vec<_> = pool.map_blocking(&function("eat_100"), source, MapOptions::default()).unwrap().collect();
        let places: Vec<_> = results.iter().map(|result| result.as_ref().unwrap_err()).map(|error| (error.code(), error.batch())).collect();
        assert_eq!(places, [(Code::WorkerOutOfMemory, Some(0)), (Code::WorkerOutOfMemory, Some(1)), (Code::WorkerOutOfMemory, Some(2))]);
    });
}

#[test]
fn a_stopped_worker_is_told_apart_from_a_slow_function() {
    checked(|| {
        let pool = one().deadline(Duration::from_millis(300)).build().unwrap();
        let error = fails(&pool, "stop_self");
        assert_eq!(error.code(), Code::WorkerStopped, "{error}");
        assert!(error.message().contains("SIGSTOP"), "{error}");
        let slow = fails(&pool, "spin");
        assert_eq!(slow.code(), Code::DeadlineExceeded, "{slow}");
    });
}

#[test]
fn a_worker_that_is_stopped_and_goes_on_before_its_deadline_has_done_nothing() {
    checked(|| {
        let pool = one().deadline(Duration::from_secs(60)).build().unwrap();
        wait_until_idle(&pool);
        let pid = Pid::from_raw(pool.stats().workers[0].pid.unwrap() as i32).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.call_blocking(&function("stop_self"), numbers(0, 1)));
            while !state().contains(") T ") {
                std::thread::yield_now();
            }
            kill_process(pid, Signal::CONT).unwrap();
            call.join().unwrap().unwrap();
        });
    });
}

#[test]
fn descriptors_and_threads_beyond_the_limit_are_the_functions_own_error() {
    checked(|| {
        let pool = one().worker_descriptors(32).build().unwrap();
        let error = fails(&pool, "open_64");
        assert_eq!(error.code(), Code::FunctionRaised, "{error}");
        assert!(error.message().contains("os error 24"), "{error}");
        pool.call_blocking(&function("open_8"), numbers(0, 1)).unwrap();
        assert_eq!(pool.stats().workers[0].restarts, 0);
        drop(pool);
        match one().worker_processes(8).build() {
            Ok(pool) => {
                let error = fails(&pool, "threads_200");
                assert_eq!(error.code(), Code::FunctionRaised, "{error}");
                assert!(error.message().contains("os error 11"), "{error}");
                assert_eq!(pool.stats().workers[0].restarts, 0);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::BadOption, "{error}");
                println!("SKIPPED: {error}");
            }
        }
        assert_no_groups();
    });
}

/// Of user and group `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn a_user_who_is_not_root_is_held_to_the_kernels_count_of_processes() {
    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED: this user is not root, and the test before is about the same limit");
    }
    let seen = |path: &Path| Command::new("test").arg("-x").arg(path).uid(NOBODY).gid(NOBODY).status().is_ok_and(|status| status.success());
    if !seen(Path::new(WORKER)) || !seen(&std::env::current_exe().unwrap()) {
        return println!("SKIPPED: other users may not run what is built here");
    }
    checked(|| in_a_process_of_its_own("host_that_is_not_root", |command| _ = command.uid(NOBODY).gid(NOBODY).current_dir("/")));
}

#[test]
#[ignore = "run by another test, as a user who is not root"]
fn host_that_is_not_root() {
    checked(|| {
        let pool = one().worker_processes(8).build().unwrap();
        works(&pool);
        assert!(groups().is_empty(), "a control group would hold to it instead");
        let error = fails(&pool, "threads_200");
        assert_eq!(error.code(), Code::FunctionRaised, "{error}");
        assert!(error.message().contains("os error 11"), "{error}");
        pool.call_blocking(&function("threads_4"), numbers(0, 1)).unwrap();
        assert_eq!(pool.stats().workers[0].restarts, 0);
    });
}

#[test]
fn what_leaves_the_workers_session_ends_with_it_where_there_are_control_groups() {
    checked(|| {
        let pool = one().worker_memory(256 << 20).build().unwrap();
        let escaped = values(&pool.call_blocking(&function("escape"), numbers(0, 1)).unwrap())[0];
        let alive = || fs::read_to_string(format!("/proc/{escaped}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        if groups().is_empty() {
            println!("SKIPPED: no control group can be made here, and only those reach a process that has left its session");
            return kill_process(Pid::from_raw(escaped as i32).unwrap(), Signal::KILL).unwrap();
        }
        assert!(alive());
        drop(pool);
        let begun = Instant::now();
        while alive() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it lives on");
            std::thread::yield_now();
        }
        assert_no_groups();
    });
}

#[test]
fn a_result_that_is_too_large_is_refused_before_it_is_made_or_when_it_comes() {
    checked(|| {
        let pool = one().result_limit(1 << 20).build().unwrap();
        // In the segment that is there already, and in one that is asked for.
        for name in ["text_2", "text_40"] {
            let error = fails(&pool, name);
            assert_eq!(error.code(), Code::ResultTooLarge, "{error}");
            assert!(error.message().ends_with("and may have 1048576"), "{error}");
        }
        let used = pool.stats().memory_used;
        assert!(used <= 16 << 20, "{used}: the large result was never made");
        assert_eq!(pool.stats().workers[0].restarts, 0);
    });
}

#[test]
fn a_gigabyte_of_print_blocks_nobody_and_is_counted() {
    checked(|| {
        let pool = one().build().unwrap();
        works(&pool);
        let before = resident();
        let error = fails(&pool, "chatter_1024");
        assert_eq!(error.code(), Code::WorkerSignalled);
        let dropped = error.output()[0].strip_prefix('(').and_then(|line| line.split_once(" bytes before were dropped)")).map(|(bytes, _)| bytes);
        let dropped: u64 = dropped.expect("the first line counts").parse().unwrap();
        assert!(dropped > (1 << 30) - (256 << 10), "{dropped}");
        assert!(resident() < before + (64 << 20), "{} MiB, {} before", resident() >> 20, before >> 20);
    });
}

fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_function_that_ends_every_worker_is_suspended_and_others_go_on() {
    checked(|| {
        let pool = one().build().unwrap();
        let deaths: Vec<Error> = (0..5).map(|_| fails(&pool, "abort")).collect();
        assert!(deaths.iter().all(|error| error.code() == Code::WorkerSignalled));
        let error = fails(&pool, "abort");
        assert_eq!(error.code(), Code::FunctionSuspended, "{error}");
        assert!(
            error.message().contains("5 times in a row, the last time by TRN-2104 WORKER_SIGNALLED: the worker was killed by SIGABRT"),
            "{error}"
        );
        // A batch of a stream says where it was as well.
        let mut results = pool.map_blocking(&function("abort"), std::iter::once(Ok(numbers(0, 1))), MapOptions::default()).unwrap();
        let error = results.next().unwrap().unwrap_err();
        assert_eq!((error.code(), error.function(), error.batch()), (Code::FunctionSuspended, Some("abort"), Some(0)), "{error}");
        assert_eq!(pool.stats().workers[0].restarts, 5);
        // After the pause it is tried again, once.
        let again = std::iter::repeat_with(|| pool.call_blocking(&function("abort"), numbers(0, 1)).unwrap_err());
        let died = again.inspect(|_| std::thread::yield_now()).find(|error| error.code() != Code::FunctionSuspended).unwrap();
        assert_eq!(died.code(), Code::WorkerSignalled);
        assert_eq!(fails(&pool, "abort").code(), Code::FunctionSuspended);
    });
}

/// Changes a limit of this process for the time of a test.
struct Lowered(Resource, Rlimit);

impl Lowered {
    fn to(resource: Resource, limit: u64) -> Self {
        let before = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
        Self(resource, before)
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        setrlimit(self.0, Rlimit { current: self.1.current, maximum: self.1.maximum }).unwrap();
    }
}

/// The host with one descriptor after the other too few: each time it says so, keeps nothing, and works when there are more.
#[test]
fn a_host_without_descriptors_says_so_and_works_again_later() {
    checked(|| {
        let (mut refused, mut worked, mut calls_refused) = (BTreeMap::new(), 0, 0);
        for most in (3..40).rev() {
            // A start that failed is tried again after pauses: what is far from enough is left out, down to where not even a pool can be made.
            if calls_refused >= 6 && most > 8 {
                continue;
            }
            let lowered = Lowered::to(Resource::Nofile, most);
            match one().build() {
                Ok(pool) => match pool.call_blocking(&function("plus_one"), numbers(0, 1000)) {
                    Ok(_) => worked += 1,
                    Err(error) => {
                        calls_refused += 1;
                        drop(lowered);
                        while calls_refused == 1 && pool.call_blocking(&function("plus_one"), numbers(0, 2)).is_err() {
                            std::thread::yield_now();
                        }
                        refused.insert(error.message().to_owned(), error.code());
                    }
                },
                Err(error) => _ = refused.insert(error.message().to_owned(), error.code()),
            }
        }
        println!("{refused:#?}, {worked} worked");
        assert!(refused.len() > 2 && calls_refused >= 6 && worked > 5);
        assert!(refused.values().all(|&code| code == Code::DescriptorLimit), "{refused:#?}");
    });
}

#[test]
fn a_worker_without_descriptors_is_an_error_with_a_name() {
    checked(|| {
        let mut codes = Vec::new();
        for descriptors in 1..24 {
            let pool = one().worker_descriptors(descriptors).build().unwrap();
            match pool.call_blocking(&function("plus_one"), numbers(0, 1000)) {
                Ok(_) => codes.push(None),
                Err(error) => codes.push(Some(error.code())),
            }
        }
        println!("{codes:?}");
        assert_eq!(codes.last(), Some(&None), "24 are enough for a native worker");
        let named = [Code::StartFailed, Code::DescriptorLimit, Code::WorkerExited, Code::FunctionRaised];
        assert!(codes.iter().flatten().all(|code| named.contains(code)), "{codes:?}");
    });
}

/// A control group with a memory limit for processes of a test; `None`, and a line that says so, where none can be made.
struct SmallGroup(PathBuf);

impl SmallGroup {
    fn of(bytes: u64) -> Option<Self> {
        let (old, new) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let (root, file) = if old.is_dir() { (old, "memory.limit_in_bytes") } else { (new, "memory.max") };
        let group = Self(root.join(scratch("group").file_name().unwrap()));
        let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(file), bytes.to_string()));
        made.map_err(|error| println!("SKIPPED: no control group can be made here: {error}")).ok().map(|()| group)
    }
}

impl Drop for SmallGroup {
    fn drop(&mut self) {
        let begun = Instant::now();
        while self.0.is_dir() && fs::remove_dir(&self.0).is_err() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
    }
}

/// Runs one of the tests that are left out otherwise, as the host in a process of its own that `command` prepares.
fn in_a_process_of_its_own(test: &str, prepare: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    prepare(&mut command);
    let done = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && text.contains("1 passed"), "{}: {text}", done.status);
}

/// Takes shared memory until there is no more; gives the error.
fn fill(pool: &Pool) -> Error {
    let mut kept = Vec::new();
    loop {
        match pool.share(&numbers(0, (4 << 20) / 8)) {
            Ok(batch) => kept.push(batch),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_host_in_a_small_control_group_is_told_and_not_killed() {
    let Some(group) = SmallGroup::of(64 << 20) else { return };
    in_a_process_of_its_own("host_with_little_memory", |command| {
        let entrance = fs::OpenOptions::new().write(true).open(group.0.join("cgroup.procs")).unwrap();
        // SAFETY: between fork and exec it makes one system call.
        unsafe { command.pre_exec(move || rustix::io::write(&entrance, b"0").map(drop).map_err(Into::into)) };
    });
}

#[test]
fn a_host_with_little_address_space_is_told() {
    in_a_process_of_its_own("host_with_little_memory", |command| {
        let limit = Rlimit { current: Some(1 << 30), maximum: getrlimit(Resource::As).maximum };
        // SAFETY: between fork and exec it makes one system call.
        unsafe { command.pre_exec(move || setrlimit(Resource::As, limit).map_err(Into::into)) };
    });
}

#[test]
fn a_small_dev_shm_is_no_limit() {
    let mount = "mount -t tmpfs -o size=1m none /dev/shm";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]);
        command
    };
    if !unshare(mount).output().is_ok_and(|done| done.status.success()) {
        return println!("SKIPPED: this user may not mount a /dev/shm of its own");
    }
    let script = format!("{mount} && exec \"$0\" --exact host_with_a_small_dev_shm --ignored --nocapture");
    let done = unshare(&script).arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
#[ignore = "run by another test, in a process that has little memory"]
fn host_with_little_memory() {
    checked(|| {
        let pool = one().memory_limit(8 << 30).build().unwrap();
        works(&pool);
        let error = fill(&pool);
        assert_eq!(error.code(), Code::SharedMemoryFull, "{error}");
        works(&pool);
    });
}

#[test]
#[ignore = "run by another test, where /dev/shm is small"]
fn host_with_a_small_dev_shm() {
    checked(|| {
        let pool = one().build().unwrap();
        let rows = (64 << 20) / 8;
        assert_eq!(pool.call_blocking(&function("plus_one"), numbers(0, rows)).unwrap().num_rows(), rows);
    });
}

#[test]
fn what_the_host_does_not_see_the_kernel_counts_where_there_are_control_groups() {
    checked(|| {
        let pool = one().worker_memory(64 << 20).build().unwrap();
        works(&pool);
        if groups().is_empty() {
            return println!("SKIPPED: no control group can be made here");
        }
        let error = fails(&pool, "file_200");
        assert_eq!(error.code(), Code::WorkerOutOfMemory, "{error}");
        assert!(
            error.message().starts_with("out of memory: limit 64 MiB, used ") && error.message().ends_with("killed the worker at 80 MiB"),
            "{error}"
        );
        drop(pool);
        assert_no_groups();
    });
}

#[test]
fn a_worker_with_little_address_space_is_an_error_with_a_name() {
    checked(|| {
        let program = scratch("worker");
        fs::write(&program, format!("#!/bin/sh\nulimit -v 400000\nexec {WORKER} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let pool = native(program.to_str().unwrap(), 1).build().unwrap();
        works(&pool);
        let error = pool.call_blocking(&function("identity"), numbers(0, (512 << 20) / 8)).unwrap_err();
        // It cannot map the arguments, and says so by its end.
        assert_eq!((error.code(), error.function()), (Code::WorkerExited, Some("identity")), "{error}");
        works(&pool);
        fs::remove_file(&program).unwrap();
    });
}
