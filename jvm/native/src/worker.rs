//! Natives of `io.transom.worker.Main`, and the JVM as a runtime of functions for the core's protocol.
//!
//! A link has a thread of Java's, which calls `serve` and stays in it. The core calls the runtime on that thread, and the runtime calls the methods of
//! the link's `io.transom.worker.Worker`, each in a frame of local references of its own, since `serve` does not return until the end.

mod adapt;
mod answer;

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use jni::objects::{JClass, JLongArray, JObject, JObjectArray, JString, JThrowable, JValue};
use jni::refs::Global;
use jni::sys::{jint, jlong};
use jni::{Env, EnvUnowned, JavaVM, jni_mangle, jni_sig, jni_str};
use transom::exchange::Direction;
use transom::function::Source;
use transom::link::RemoteError;
use transom::worker::{self, Input, Results, Runtime};
use transom::{Code, Error, Signature};

use crate::codec::Codec;
use crate::failure::native;
use crate::handles::Table;
use crate::memory;

/// `void serve(int descriptor, Worker worker)`: serves the host at the other end until it says goodbye.
#[jni_mangle("io.transom.worker.Main")]
pub fn serve<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, descriptor: jint, worker: JObject<'local>) {
    native(env, |env| {
        if descriptor < 0 {
            return Err(Error::new(Code::BadOption, format!("{descriptor} is no descriptor")).into());
        }
        // SAFETY: the number is that of the descriptor which the host gave this process for nothing but this; nobody else closes it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let (codec, handle) = Codec::new(Arc::default(), Direction::Result);
        let mut runtime = JvmRuntime { java: Java { worker: Arc::new(env.new_global_ref(&worker)?) }, codec, functions: HashMap::new() };
        let begun = runtime.java.call(|env, worker| {
            env.call_method(worker, jni_str!("begin"), jni_sig!("(J)V"), &[JValue::Long(handle)])?;
            Ok(())
        });
        let served = begun.map_err(RemoteError::into_error).and_then(|()| worker::serve(descriptor, &mut runtime));
        Codec::close(handle);
        Ok(served?)
    });
}

/// The streams that are open, for the functions that read them.
static INPUTS: Table<Mutex<Reading>> = Table::new(Code::Cancelled, "the function has ended");

/// `long[] nextInput(long input)`: the next batch of a stream; null at its end.
#[jni_mangle("io.transom.worker.Main")]
pub fn next_input<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, input: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let input = INPUTS.get(input)?;
        let numbers = input.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        Ok(match numbers {
            Some(numbers) => longs(env, &numbers)?,
            None => JLongArray::default(),
        })
    })
}

/// The input of a stream, and why it ended, where it did not come to its end.
struct Reading {
    input: Input,
    codec: Arc<Codec>,
    stopped: Option<RemoteError>,
}

impl Reading {
    fn next(&mut self) -> transom::Result<Option<Vec<i64>>> {
        if let Some(error) = &self.stopped {
            return Err(error.clone().into_error());
        }
        let next = self.input.next().transpose().and_then(|batch| Ok(batch.map(|batch| self.codec.send(batch)).transpose()?));
        next.map_err(|error| self.stopped.insert(error).clone().into_error())
    }
}

/// The Java side of a link: its `io.transom.worker.Worker`.
#[derive(Clone)]
struct Java {
    worker: Arc<Global<JObject<'static>>>,
}

impl Java {
    /// Runs on this thread, which is one of Java's, in a frame of local references of its own. What Java throws becomes the report for the host.
    fn call<T>(&self, run: impl FnOnce(&mut Env<'_>, &JObject<'_>) -> jni::errors::Result<T>) -> Result<T, RemoteError> {
        let outcome = JavaVM::singleton().and_then(|vm| {
            vm.attach_current_thread(|env| -> jni::errors::Result<Result<T, RemoteError>> {
                match run(env, &self.worker) {
                    Ok(value) => Ok(Ok(value)),
                    Err(error) => match env.exception_occurred() {
                        None => Err(error),
                        Some(thrown) => {
                            env.exception_clear();
                            self.report(env, &thrown).map(Err)
                        }
                    },
                }
            })
        });
        outcome.unwrap_or_else(|error| Err(RemoteError::new(Code::Internal, format!("a call into the JVM failed: {error}"))))
    }

    /// Has Java let go of what Rust does not read any more. A result in the arguments' memory is held by Rust itself, and Java's part of it would keep
    /// the host's lease until the next call.
    fn let_go(&self) -> Result<(), RemoteError> {
        if !memory::is_any_no_longer_read() {
            return Ok(());
        }
        self.call(|env, worker| env.call_method(worker, jni_str!("letGo"), jni_sig!("()V"), &[]).map(drop))
    }

    /// What the host is told of an exception.
    fn report(&self, env: &mut Env<'_>, thrown: &JThrowable<'_>) -> jni::errors::Result<RemoteError> {
        let failure = env.call_method(
            &*self.worker,
            jni_str!("report"),
            jni_sig!("(Ljava/lang/Throwable;)Lio/transom/worker/Failure;"),
            &[JValue::Object(thrown)],
        )?;
        answer::failure(env, &failure.l()?)
    }
}

fn longs<'local>(env: &mut Env<'local>, numbers: &[i64]) -> jni::errors::Result<JLongArray<'local>> {
    let array = env.new_long_array(numbers.len())?;
    array.set_region(env, 0, numbers)?;
    Ok(array)
}

struct JvmRuntime {
    java: Java,
    codec: Arc<Codec>,
    functions: HashMap<u32, Arc<Signature>>,
}

impl JvmRuntime {
    fn signature(&self, function: u32) -> Result<Arc<Signature>, RemoteError> {
        self.functions.get(&function).cloned().ok_or_else(|| RemoteError::new(Code::Internal, format!("function {function} is not loaded")))
    }
}

impl Runtime for JvmRuntime {
    fn language(&self) -> String {
        let language = self.java.call(|env, worker| {
            let language = env.call_method(worker, jni_str!("language"), jni_sig!("()Ljava/lang/String;"), &[])?.l()?;
            answer::text(env, language)
        });
        language.unwrap_or_else(|_| "Java".to_owned())
    }

    fn define(&mut self, function: u32, source: &Source, import_path: &[String]) -> Result<Signature, RemoteError> {
        let Source::Module { module, .. } = source else {
            return Err(RemoteError::new(Code::FunctionNotCallable, "a JVM runs functions of classes, and this one is of another language"));
        };
        let described = self.java.call(|env, worker| {
            let name = env.new_string(module)?;
            let jars = JObjectArray::<JString<'_>>::new(env, import_path.len(), JString::null())?;
            for (index, jar) in import_path.iter().enumerate() {
                let jar = env.new_string(jar)?;
                jars.set_element(env, index, jar)?;
            }
            let arguments = [JValue::Int(function as jint), JValue::Object(&name), JValue::Object(&jars)];
            let sig = jni_sig!("(ILjava/lang/String;[Ljava/lang/String;)Lio/transom/worker/Worker$Described;");
            let described = env.call_method(worker, jni_str!("define"), sig, &arguments)?.l()?;
            answer::Described::read(env, &described)
        })?;
        let signature = described.signature(&self.codec)?;
        self.functions.insert(function, Arc::new(signature.clone()));
        Ok(signature)
    }

    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError> {
        let signature = self.signature(function)?;
        let numbers = self.codec.send(adapt::arguments(arguments, &signature)?)?;
        let numbers = self.java.call(|env, worker| {
            let numbers = longs(env, &numbers)?;
            let arguments = [JValue::Int(function as jint), JValue::Object(&numbers)];
            let answer = env.call_method(worker, jni_str!("call"), jni_sig!("(I[J)[J"), &arguments)?.l()?;
            answer::longs(env, answer)
        })?;
        let result = self.codec.receive(&numbers.unwrap_or_default())?;
        self.java.let_go()?;
        adapt::result(result.column(0), &signature)
    }

    fn open(&mut self, function: u32, input: Input) -> Result<Results, RemoteError> {
        let signature = self.signature(function)?;
        let schema = self.codec.schema_to_java(&input.schema()?)?;
        let input = INPUTS.insert(Arc::new(Mutex::new(Reading { input, codec: self.codec.clone(), stopped: None })));
        // From here on its drop ends the stream, however far it came.
        let results = JavaResults { java: self.java.clone(), codec: self.codec.clone(), input, schema: signature.returns.clone(), ended: false };
        let opened = self.java.call(|env, worker| {
            let arguments = [JValue::Int(function as jint), JValue::Long(schema), JValue::Long(input)];
            env.call_method(worker, jni_str!("open"), jni_sig!("(IJJ)V"), &arguments)?;
            Ok(())
        });
        results.or_stopped(opened)?;
        Ok(Box::new(results))
    }
}

/// What a batches function gives.
struct JavaResults {
    java: Java,
    codec: Arc<Codec>,
    input: i64,
    /// The declared schema, or that of the first result: one stream has one schema.
    schema: Option<SchemaRef>,
    ended: bool,
}

impl JavaResults {
    /// Where the input stopped the function, the reason is the input's.
    fn or_stopped<T>(&self, outcome: Result<T, RemoteError>) -> Result<T, RemoteError> {
        outcome.map_err(|error| match error.kind.as_str() {
            answer::INTERRUPTED => {
                let stopped = INPUTS.get(self.input).ok().and_then(|input| input.lock().unwrap_or_else(PoisonError::into_inner).stopped.clone());
                stopped.unwrap_or(error)
            }
            _ => error,
        })
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, RemoteError> {
        let numbers = self.java.call(|env, worker| {
            let answer = env.call_method(worker, jni_str!("next"), jni_sig!("()[J"), &[])?.l()?;
            answer::longs(env, answer)
        });
        let Some(numbers) = self.or_stopped(numbers)? else { return Ok(None) };
        let batch = self.codec.receive(&numbers)?;
        self.java.let_go()?;
        adapt::batch(batch, &mut self.schema).map(Some)
    }
}

impl Iterator for JavaResults {
    type Item = Result<RecordBatch, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.take();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Drop for JavaResults {
    fn drop(&mut self) {
        // A thread that the function left behind finds its input gone. What closing the function's iterator throws comes after the last answer.
        drop(INPUTS.remove(self.input));
        _ = self.java.call(|env, worker| env.call_method(worker, jni_str!("end"), jni_sig!("()V"), &[]).map(drop));
    }
}
