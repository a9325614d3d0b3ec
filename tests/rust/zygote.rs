//! Workers by fork: what is forked is a worker like any other; and with a zygote that dies, stops or never comes, workers start all the same.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::invariants::{Tally, assert_settled};
use support::steps::{ARMED, ARMED_ONCE, Action, ZYGOTE, ZYGOTE_STEPS};
use support::{Listener, checked, function, native, numbers, scratch, wait_until_idle};
use transom::{Code, Pool, PoolBuilder};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

fn zygotes(workers: usize) -> PoolBuilder {
    native(WORKER, workers).env(ZYGOTE, "1")
}

fn name(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}

/// The zygotes among this process's children.
fn there() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect::<Vec<_>>().join(" ");
    children.split_whitespace().map(|child| child.parse().unwrap()).filter(|&child| name(child) == "transom-zygote").collect()
}

fn zygote() -> u32 {
    let begun = Instant::now();
    loop {
        if let [zygote] = there()[..] {
            return zygote;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "there is no zygote, or more than one: {:?}", there());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where a program lies in a process is drawn anew by each that starts it, and is the same in forks.
fn place(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/maps")).unwrap().split('-').next().unwrap().to_owned()
}

fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process as i32).unwrap(), signal).unwrap();
}

fn workers(pool: &Pool) -> Vec<u32> {
    wait_until_idle(pool);
    pool.stats().workers.iter().map(|worker| worker.pid.expect("an idle worker has a process")).collect()
}

/// Has workers die of calls: each is told, with the right reason, and the next call works.
fn outlives(pool: &Pool, deaths: usize) {
    let mut tally = Tally::new(0, 1);
    for _ in 0..deaths {
        for (dies, code, said) in [("exit", Code::WorkerExited, "exit status 3"), ("abort", Code::WorkerSignalled, "SIGABRT")] {
            let error = pool.call_blocking(&function(dies), numbers(0, 3)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(said), "{error}");
            let (first, batch) = tally.batch(10);
            tally.note(first, &pool.call_blocking(&function("plus_one"), batch), &[]);
        }
    }
    tally.settle();
    assert_settled(pool);
}

#[test]
fn workers_after_the_first_are_forked_and_their_deaths_are_told_as_ever() {
    checked(|| {
        let pool = zygotes(3).build().unwrap();
        let first = workers(&pool);
        let (zygote, name_of_first) = (zygote(), name(first[0]));
        assert!(first.iter().all(|&worker| place(worker) == place(zygote)), "{first:?}");
        outlives(&pool, 5);
        let last = workers(&pool);
        assert!(last.iter().all(|&worker| place(worker) == place(zygote) && name(worker) == name_of_first));
        // Each leads a group of its own, which is what is killed with it.
        let group = |process: u32| rustix::process::getpgid(Pid::from_raw(process as i32)).unwrap().as_raw_nonzero().get() as u32;
        assert!(last.iter().chain([&zygote]).all(|&process| group(process) == process));
    });
}

#[test]
fn one_worker_has_no_zygote_until_it_has_died() {
    checked(|| {
        let pool = zygotes(1).build().unwrap();
        workers(&pool);
        assert!(there().is_empty());
        outlives(&pool, 1);
        let zygote = zygote();
        outlives(&pool, 1);
        assert_eq!(place(workers(&pool)[0]), place(zygote));
    });
}

#[test]
fn a_death_at_any_step_costs_no_call() {
    for step in ZYGOTE_STEPS {
        for action in [Action::Abort, Action::Kill, Action::Delay] {
            if step.starts_with("host") {
                continue;
            }
            println!("{step} {action:?}");
            checked(move || {
                let mark = scratch("armed");
                let pool = zygotes(2).env(ARMED, format!("{step}={}", action.text())).env(ARMED_ONCE, &mark).build().unwrap();
                outlives(&pool, 2);
                drop(pool);
                fs::remove_file(mark).expect("the first worker armed itself");
            });
        }
    }
}

#[test]
fn a_host_that_cannot_ask_starts_workers_as_ever() {
    checked(|| {
        let pool = zygotes(2).build().unwrap();
        workers(&pool);
        let before = zygote();
        fail::cfg("host::zygote", Action::Error.text()).unwrap();
        outlives(&pool, 3);
        fail::remove("host::zygote");
        assert!(!there().contains(&before), "what does not fork is no more");
    });
}

#[test]
fn a_zygote_that_is_killed_or_stopped_is_replaced() {
    checked(|| {
        for how in [Signal::KILL, Signal::STOP] {
            let pool = zygotes(2).build().unwrap();
            workers(&pool);
            let before = zygote();
            signal(before, how);
            outlives(&pool, 2);
            let after = zygote();
            assert_ne!(before, after);
            outlives(&pool, 1);
            assert!(workers(&pool).iter().any(|&worker| place(worker) == place(after)));
        }
    });
}

#[test]
fn a_worker_that_becomes_ready_and_leaves_no_zygote_keeps_nobody_waiting() {
    checked(|| {
        let begun = Instant::now();
        let pool = native(WORKER, 4).build().unwrap();
        workers(&pool);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(there().is_empty());
    });
}

#[test]
fn a_folder_that_is_no_more_is_told_of_as_ever() {
    checked(|| {
        let folder = scratch("folder");
        fs::create_dir(&folder).unwrap();
        let pool = zygotes(2).working_directory(&folder).build().unwrap();
        let mut listener = Listener::to(&pool);
        workers(&pool);
        zygote();
        fs::remove_dir(&folder).unwrap();
        _ = pool.call_blocking(&function("exit"), numbers(0, 3)).unwrap_err();
        listener.wait_for_end();
        assert_eq!(listener.wait_for_end().code(), Code::WorkingDirectoryMissing);
    });
}
