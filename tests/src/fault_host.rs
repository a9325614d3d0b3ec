//! A host that is made to die, for tests. With a worker program alone it goes through all steps; with a language and a function it calls that, which
//! never ends.

use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::{native, numbers, steps};
use transom::{Function, Language, Pool};

fn main() {
    steps::arm();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // Deaths come sooner where nobody waits for long.
        [worker] => drop(steps::run(&native(worker, 1).start_limit(Duration::from_secs(30)).build().expect("a pool can be made"))),
        [worker, language, function] => hold(worker, language, function),
        _ => panic!("a worker program, or with it a language and a function"),
    }
}

fn hold(worker: &str, language: &str, function: &str) {
    let builder = Pool::builder().workers(1);
    let (builder, function) = match language {
        // The tests' native worker is started like an interpreter.
        "native" | "python" => (builder.python(worker), Function::python(function)),
        "java" => {
            let (jar, class) = function.split_once(':').expect("JAR:CLASS");
            let function = Function::java(class).map(|function| function.with_import_path([jar.to_owned()]));
            (builder.java_class_path([worker]).prestart([Language::Java]), function)
        }
        _ => panic!("{language} is no language"),
    };
    let pool = Arc::new(builder.build().expect("a pool can be made"));
    let caller = pool.clone();
    let call = thread::spawn(move || _ = caller.call_blocking(&function.expect("a reference"), numbers(0, 1)));
    if language == "java" {
        // Its functions know no gate: it is gone through for them, once the function is with its worker.
        while !pool.stats().workers.iter().any(|worker| worker.state == "busy") {
            thread::yield_now();
        }
        drop(File::open(std::env::var("TEST_GATE").expect("the test names its gate")));
    }
    _ = call.join();
}
