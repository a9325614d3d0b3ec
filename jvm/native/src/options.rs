//! The options of a pool, which Java gives as pairs of texts.

use std::time::Duration;

use transom::{Error, Language, Mode, PoolBuilder, Result};

use crate::function::bad_option;

/// The builder with one more option. Options of several values are given several times.
fn with(builder: PoolBuilder, lists: &mut Lists, name: &str, value: &str) -> Result<PoolBuilder> {
    let number = || value.parse::<u64>().map_err(|_| bad_option(name, value));
    let count = || value.parse::<usize>().map_err(|_| bad_option(name, value));
    let pair = || value.split_once('=').ok_or_else(|| bad_option(name, value));
    Ok(match name {
        "workers" => builder.workers(count()?),
        "python" => builder.python(value),
        "native-worker" => builder.native_worker(value),
        "java" => builder.java(value),
        "java-class-path" => {
            lists.class_path.push(value.to_owned());
            builder
        }
        "java-option" => {
            lists.java_options.push(value.to_owned());
            builder
        }
        "prestart" => {
            lists.prestart.push(Language::from_name(value).ok_or_else(|| bad_option(name, value))?);
            builder
        }
        "no-prestart" => builder.prestart([]),
        "env" => pair().map(|(key, value)| builder.env(key, value))?,
        "working-directory" => builder.working_directory(value),
        "memory-limit" => builder.memory_limit(number()?),
        "mode" => builder.mode(mode(value).ok_or_else(|| bad_option(name, value))?),
        "window" => builder.window(count()?),
        "worker-memory" => builder.worker_memory(number()?),
        "worker-descriptors" => builder.worker_descriptors(number()?),
        "worker-processes" => builder.worker_processes(number()?),
        "result-limit" => builder.result_limit(number()?),
        "start-limit" => builder.start_limit(Duration::from_nanos(number()?)),
        "capsules" => builder.capsules(value),
        "capsule-bytes" => builder.capsule_bytes(number()?),
        "capsule-count" => builder.capsule_count(count()?),
        "deadline" => builder.deadline(Duration::from_nanos(number()?)),
        _ => return Err(bad_option(name, value)),
    })
}

#[derive(Default)]
struct Lists {
    class_path: Vec<String>,
    java_options: Vec<String>,
    prestart: Vec<Language>,
}

fn mode(name: &str) -> Option<Mode> {
    match name {
        "guarded" => Some(Mode::Guarded),
        "strict" => Some(Mode::Strict),
        "trusted" => Some(Mode::Trusted),
        _ => None,
    }
}

/// A builder with all of these options: names and values in turn.
///
/// # Errors
/// `BAD_OPTION` for one that is not known, or not with its value.
pub(crate) fn builder(options: &[String]) -> Result<PoolBuilder, Error> {
    let mut lists = Lists::default();
    let mut builder = PoolBuilder::default();
    for pair in options.chunks(2) {
        builder = with(builder, &mut lists, &pair[0], pair.get(1).map_or("", String::as_str))?;
    }
    if !lists.class_path.is_empty() {
        builder = builder.java_class_path(lists.class_path);
    }
    if !lists.java_options.is_empty() {
        builder = builder.java_options(lists.java_options);
    }
    if !lists.prestart.is_empty() {
        builder = builder.prestart(lists.prestart);
    }
    Ok(builder)
}
