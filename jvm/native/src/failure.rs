//! How natives end: with a value, or with a Java exception. A panic becomes one too.

use std::any::Any;
use std::sync::OnceLock;

use jni::errors::ErrorPolicy;
use jni::objects::{JClass, JObject, JString, JThrowable, JValue};
use jni::refs::Global;
use jni::{Env, EnvUnowned, jni_mangle, jni_sig, jni_str};
use transom::{Code, Error};

/// Why a native has no value to give.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Transom says why.
    Transom(Error),
    /// The JVM says why; where it is an exception, that is pending and goes on to the caller as it is.
    Jvm(jni::errors::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Transom(error)
    }
}

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Self {
        Failure::Jvm(error)
    }
}

/// Runs the body of a native. What goes wrong in it, panics too, is thrown as a `TransomException`.
pub(crate) fn native<'local, T: Default>(mut env: EnvUnowned<'local>, body: impl FnOnce(&mut Env<'local>) -> Result<T, Failure>) -> T {
    env.with_env(body).resolve::<Throw>()
}

/// The Java classes that are called from here, kept since the library was loaded: their own class loader gave them, so they are right on every
/// thread.
struct Classes {
    exception: Global<JClass<'static>>,
    library: Global<JClass<'static>>,
}

static CLASSES: OnceLock<Classes> = OnceLock::new();

fn classes() -> jni::errors::Result<&'static Classes> {
    CLASSES.get().ok_or(jni::errors::Error::NullPtr("the classes of io.transom"))
}

/// `String initialize(Class exception)`: learns which class to throw, and says which version this is.
#[jni_mangle("io.transom.internal.NativeLibrary")]
pub fn initialize<'local>(env: EnvUnowned<'local>, library: JClass<'local>, exception: JClass<'local>) -> JString<'local> {
    native(env, |env| {
        let classes = Classes { exception: env.new_global_ref(&exception)?, library: env.new_global_ref(&library)? };
        _ = CLASSES.set(classes);
        Ok(env.new_string(env!("CARGO_PKG_VERSION"))?)
    })
}

/// Whether somebody interrupted this thread.
pub(crate) fn interrupted(env: &mut Env<'_>) -> Result<bool, Failure> {
    Ok(env.call_static_method(&classes()?.library, jni_str!("interrupted"), jni_sig!("()Z"), &[])?.z()?)
}

struct Throw;

impl<T: Default> ErrorPolicy<T, Failure> for Throw {
    type Captures<'unowned_env_local: 'native_method, 'native_method> = ();

    fn on_error<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        (): &mut (),
        failure: Failure,
    ) -> jni::errors::Result<T> {
        if env.exception_check() {
            return Ok(T::default());
        }
        match failure {
            Failure::Transom(error) => throw(env, &error),
            Failure::Jvm(error) => throw(env, &Error::new(Code::Internal, format!("a call into the JVM failed: {error}"))),
        }?;
        Ok(T::default())
    }

    fn on_panic<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        (): &mut (),
        payload: Box<dyn Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let error = Error::new(Code::Internal, format!("panic in the native library: {}", text.unwrap_or("without a message")));
        // The payload's own drop may panic.
        std::mem::forget(payload);
        if !env.exception_check() {
            throw(env, &error)?;
        }
        Ok(T::default())
    }
}

/// Throws the Java form of an error.
fn throw(env: &mut Env<'_>, error: &Error) -> jni::errors::Result<()> {
    let thrown = env.with_local_frame(32, |env| -> jni::errors::Result<()> {
        let exception = exception(env, error)?;
        env.throw(&exception)
    });
    match thrown {
        // It is pending now, which is what was wanted.
        Err(jni::errors::Error::JavaException) => Ok(()),
        other => other,
    }
}

/// The Java form of an error: all its parts, for `TransomException.of`.
pub(crate) fn exception<'local>(env: &mut Env<'local>, error: &Error) -> jni::errors::Result<JThrowable<'local>> {
    let class = &classes()?.exception;
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
    let rows = error.rows();
    let remote = error.remote();
    let capsule = error.capsule().map(|folder| folder.to_string_lossy());
    let output = (!error.output().is_empty()).then(|| error.output().join("\n"));
    let texts = [
        Some(error.code().name()),
        Some(error.message()),
        error.function(),
        error.worker(),
        remote.map(|remote| remote.kind.as_str()),
        remote.map(|remote| remote.message.as_str()),
        remote.map(|remote| remote.traceback.as_str()),
        output.as_deref(),
        error.stack(),
        error.hint(),
        capsule.as_deref(),
        Some(&error.to_string()),
    ]
    .map(|text| text.map_or(Ok(JObject::null()), |text| env.new_string(text).map(JObject::from)));
    let [name, message, function, worker, kind, remote_message, traceback, output, stack, hint, capsule, whole] = texts;
    let made = env.call_static_method(
        class,
        jni_str!("of"),
        jni_sig!(
            "(ILjava/lang/String;Ljava/lang/String;Ljava/lang/String;JJJLjava/lang/String;Ljava/lang/String;Ljava/lang/String;Ljava/lang/String;Ljava/lang/String;Ljava/lang/String;ILjava/lang/String;Ljava/lang/String;Ljava/lang/String;)Lio/transom/TransomException;"
        ),
        &[
            JValue::Int(error.code().number().into()),
            JValue::Object(&name?),
            JValue::Object(&message?),
            JValue::Object(&function?),
            JValue::Long(number(error.batch())),
            JValue::Long(number(rows.as_ref().map(|rows| rows.start))),
            JValue::Long(number(rows.as_ref().map(|rows| rows.end))),
            JValue::Object(&worker?),
            JValue::Object(&kind?),
            JValue::Object(&remote_message?),
            JValue::Object(&traceback?),
            JValue::Object(&output?),
            JValue::Object(&stack?),
            JValue::Int(error.signal().unwrap_or_default()),
            JValue::Object(&hint?),
            JValue::Object(&capsule?),
            JValue::Object(&whole?),
        ],
    )?;
    env.cast_local::<JThrowable<'_>>(made.l()?)
}
