//! A worker in Rust, for tests: it starts in a millisecond, so a thousand of them can be killed. A pool starts it like an interpreter, with the
//! descriptor of its link as the last argument; or like a JVM, with one for each of its threads.

mod careful;
mod greedy;

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use support::steps::ZYGOTE;
use transom::function::Source;
use transom::link::{RemoteError, Suppressed};
use transom::worker::{Forking, Input, Results, Runtime, serve, split};
use transom::{Code, Kind, OnError, Parameter, Signature};

/// The deadline of functions that end right before it.
const BRINK: Duration = Duration::from_millis(20);

fn main() {
    support::steps::arm();
    let descriptors: Vec<i32> = std::env::args().rev().map_while(|text| text.parse().ok()).collect();
    let descriptors = forked().map_or(descriptors, |link| vec![link]);
    // SAFETY: the host opened the descriptors for this process alone and says their numbers; nothing else here uses them.
    let descriptors = descriptors.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
    let mut descriptors = descriptors;
    let first = descriptors.next().expect("the last argument is a descriptor");
    let threads: Vec<_> = descriptors.map(|descriptor| std::thread::spawn(|| serve(descriptor, &mut Native::default()))).collect();
    // The first on this thread, as other workers do.
    let failed = serve(first, &mut Native::default()).is_err();
    let failed = threads.into_iter().any(|thread| !matches!(thread.join(), Ok(Ok(())))) || failed;
    std::process::exit(i32::from(failed));
}

/// Leaves a zygote behind, as Python's workers do, where the test says so; gives the link in the workers that are forked from it.
fn forked() -> Option<i32> {
    let number = |text: String| text.parse::<i32>().ok();
    let link = std::env::args().next_back().and_then(number).filter(|_| std::env::var_os(ZYGOTE).is_some())?;
    let faults = std::env::var("TRANSOM_FAULT_FD").ok().and_then(number);
    split(link, faults, &mut Plain).map(|newborn| newborn.link)
}

/// A runtime that has nothing to do at a fork.
struct Plain;

impl Forking for Plain {
    fn before(&mut self) {}
    fn in_parent(&mut self) {}
    fn in_child(&mut self) {}
}

#[derive(Default)]
struct Native {
    names: HashMap<u32, String>,
    kept: Vec<RecordBatch>,
}

impl Runtime for Native {
    fn language(&self) -> String {
        "Rust".to_owned()
    }

    fn define(&mut self, function: u32, source: &Source, _import_path: &[String]) -> Result<Signature, RemoteError> {
        let Source::Module { module, name } = source else {
            return Err(RemoteError::new(Code::FunctionNotFound, "only native:NAME is here"));
        };
        if name == "die_when_loaded" {
            std::process::abort();
        }
        if name == "die_when_loaded_again" && !first_time()? {
            std::process::abort();
        }
        if !module.starts_with("native") {
            return Err(RemoteError::new(Code::FunctionNotFound, format!("there is no module {module}")));
        }
        self.names.insert(function, name.clone());
        if let Some(signature) = careful::signature(name) {
            return Ok(signature);
        }
        let streams = name.starts_with("stream");
        let declared = name == "declared_text";
        Ok(Signature {
            name: name.clone(),
            kind: if streams { Kind::Batches } else { Kind::Scalar },
            parameters: if streams { vec![] } else { vec![Parameter { name: "x".to_owned(), data_type: None, optional: false }] },
            variadic: false,
            returns: declared.then(|| Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]))),
            deadline: match name.as_str() {
                "spin_with_deadline" => Some(Duration::from_millis(200)),
                name => name.starts_with("brink_").then_some(BRINK),
            },
            retries: u32::from(name == "die_once"),
            on_error: OnError::Raise,
            deterministic: true,
        })
    }

    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError> {
        let column = arguments.column(0).clone();
        match self.names[&function].as_str() {
            "identity" | "declared_text" | "die_when_loaded_again" => Ok(column),
            "held" => held().map(|()| column),
            name if name.starts_with("brink_") => {
                let micros: u64 = name["brink_".len()..].parse().map_err(|_| RemoteError::new(Code::FunctionNotFound, "brink_MICROS"))?;
                std::thread::sleep(BRINK - Duration::from_micros(micros));
                Ok(column)
            }
            "plus_one" => Ok(plus_one(&column)),
            // Its mark says that it has begun.
            "begin_and_be_held" => first_time().and_then(|_| held()).map(|()| plus_one(&column)),
            "pid" => Ok(Arc::new(Int64Array::from(vec![i64::from(std::process::id()); column.len()]))),
            "raise" => Err(RemoteError { kind: "Oops".to_owned(), row: Some(2), ..RemoteError::new(Code::FunctionRaised, "as asked") }),
            "panic" => panic!("as asked"),
            "short" => Ok(column.slice(0, column.len().saturating_sub(1))),
            "keep" => {
                self.kept.push(arguments);
                Ok(column)
            }
            "abort" => std::process::abort(),
            "exit" => std::process::exit(3),
            "spin" | "spin_with_deadline" => loop {
                std::hint::spin_loop();
            },
            "held_spin" => {
                held()?;
                loop {
                    std::hint::spin_loop();
                }
            }
            "held_sleep" => {
                held()?;
                std::thread::sleep(Duration::from_secs(1000));
                Ok(column)
            }
            "held_orphan" => {
                orphan();
                held()?;
                std::thread::sleep(Duration::from_secs(1000));
                Ok(column)
            }
            "held_fork" => {
                // Two: one that would go on for long, and one that has a child of its own.
                for script in ["exec sleep 1000", "sleep 1000; true"] {
                    let child = std::process::Command::new("sh").args(["-c", script]).spawn();
                    child.map_err(|error| RemoteError::new(Code::Internal, error.to_string()))?;
                }
                held()?;
                std::thread::sleep(Duration::from_secs(1000));
                Ok(column)
            }
            "held_stop" => {
                stopped_at_the_gate()?;
                Ok(column)
            }
            "hang_up" => {
                // SAFETY: closing descriptors that others own is exactly the fault that this function is for; the process ends for it.
                (3..64).for_each(|descriptor| _ = unsafe { libc::close(descriptor) });
                Ok(column)
            }
            "die_once" if first_time()? => std::process::abort(),
            "die_once" => Ok(column),
            "print" => print_and_die(),
            name if name.starts_with("careful") => careful::call(name, &column),
            name if name.starts_with("sleep_") => {
                let millis: u64 = name["sleep_".len()..].parse().map_err(|_| RemoteError::new(Code::FunctionNotFound, "sleep_MILLIS"))?;
                std::thread::sleep(Duration::from_millis(millis));
                Ok(column)
            }
            name => greedy::call(name, &column).unwrap_or_else(|| Err(RemoteError::new(Code::FunctionNotFound, format!("there is no {name}")))),
        }
    }

    fn call_suppressing(&mut self, function: u32, arguments: RecordBatch) -> Result<(ArrayRef, Suppressed), RemoteError> {
        Ok(careful::call_suppressing(&self.names[&function], arguments.column(0)))
    }

    fn open(&mut self, function: u32, mut input: Input) -> Result<Results, RemoteError> {
        match self.names[&function].as_str() {
            "stream_identity" => Ok(Box::new(input)),
            "stream_abandon" => Ok(abandon(input)),
            // All but the first wait at the gate.
            "stream_held" => Ok(Box::new(input.enumerate().map(|(index, batch)| if index == 0 { batch } else { held().and(batch) }))),
            "stream_sum" => {
                let sum = input.try_fold(0, |sum, batch| Ok::<i64, RemoteError>(sum + total(&batch?)))?;
                let column: ArrayRef = Arc::new(Int64Array::from(vec![sum]));
                let batch = RecordBatch::try_from_iter([("sum", column)]).expect("one column makes a batch");
                Ok(Box::new(std::iter::once(Ok(batch))))
            }
            "stream_raise_at_end" => {
                let batches = input.count();
                Err(RemoteError { kind: "Oops".to_owned(), ..RemoteError::new(Code::FunctionRaised, format!("after {batches} batches")) })
            }
            "stream_twice" => Ok(Box::new(input.flat_map(|batch| match batch {
                Ok(batch) => vec![Ok(batch.clone()), Ok(batch)],
                Err(error) => vec![Err(error)],
            }))),
            "stream_die" => Ok(Box::new(input.skip(1).map(|_| std::process::abort()))),
            "stream_for_ever" => {
                let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
                let batch = RecordBatch::try_from_iter([("one", column)]).expect("one column makes a batch");
                Ok(Box::new(std::iter::repeat_with(move || Ok(batch.clone()))))
            }
            name => Err(RemoteError::new(Code::FunctionNotFound, format!("there is no {name}"))),
        }
    }
}

fn plus_one(column: &ArrayRef) -> ArrayRef {
    Arc::new(column.as_primitive::<Int64Type>().unary::<_, Int64Type>(|value| value.wrapping_add(1)))
}

fn total(batch: &RecordBatch) -> i64 {
    batch.column(0).as_primitive::<Int64Type>().values().iter().sum()
}

/// Whether the file named in the environment is not there; makes it.
fn first_time() -> Result<bool, RemoteError> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(setting("TEST_MARK")?);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|_| true).map_err(|error| RemoteError::new(Code::Internal, error.to_string())),
    }
}

/// Leaves a child with all descriptors of this process, the link among them, which is out of the reach of its end; it goes by itself.
fn orphan() {
    // SAFETY: the child makes system calls only, and never returns.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            libc::sleep(2);
            libc::_exit(0);
        }
    }
}

/// Waits at the gate named in the environment: opening a named pipe takes until somebody has opened the other end. What is read is nothing, but its end
/// takes until they have closed it again: who let one through and has not run since would let the next through too.
fn held() -> Result<(), RemoteError> {
    std::fs::read(setting("TEST_GATE")?).map(drop).map_err(|error| RemoteError::new(Code::Internal, error.to_string()))
}

/// Stops this process, which nothing but SIGKILL ends then; a child of it waits at the gate once that is so.
fn stopped_at_the_gate() -> Result<(), RemoteError> {
    let failed = |error: std::io::Error| RemoteError::new(Code::Internal, error.to_string());
    // Nor does the kernel wake it at its host's death.
    rustix::process::set_parent_process_death_signal(None).map_err(|errno| failed(errno.into()))?;
    let script = "until grep -q '^State:.T' /proc/$PPID/status; do sleep 0.01; done; : < \"$TEST_GATE\"; sleep 1000";
    std::process::Command::new("sh").args(["-c", script]).spawn().map_err(failed)?;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).map_err(|errno| failed(errno.into()))
}

fn setting(name: &str) -> Result<String, RemoteError> {
    std::env::var(name).map_err(|_| RemoteError::new(Code::Internal, format!("{name} is not set")))
}

/// Leaves a thread behind that goes on reading the input when the function is at its end.
fn abandon(mut input: Input) -> Results {
    let (sender, taken) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Some(Ok(_)) = input.next() {
            _ = sender.send(());
        }
    });
    _ = taken.recv();
    Box::new(std::iter::empty())
}

/// Says something first, for the error to show.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what a function prints is what is tested")]
fn print_and_die() -> ! {
    println!("a line to stdout");
    eprintln!("a line to stderr");
    std::process::abort();
}
