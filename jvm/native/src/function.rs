//! Natives of `io.transom.Function`.

use std::time::Duration;

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::{jint, jlong};
use jni::{Env, EnvUnowned, jni_mangle};
use transom::{Code, Error, Function, OnError};

use crate::failure::{Failure, native};
use crate::handles::Table;

pub(crate) static FUNCTIONS: Table<Function> = Table::new(Code::BadOption, "the function is closed");

/// The texts of a Java array.
pub(crate) fn texts(env: &mut Env<'_>, array: &JObjectArray<'_, JString<'_>>) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    for index in 0..array.len(env)? {
        let text = array.get_element(env, index)?;
        texts.push(text.try_to_string(env)?);
        env.delete_local_ref(text);
    }
    Ok(texts)
}

/// `long python(String reference)`: `path/file.py:name` or `package.module:name`.
#[jni_mangle("io.transom.Function")]
pub fn python_reference<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, reference: JString<'local>) -> jlong {
    native(env, |env| Ok(FUNCTIONS.insert(Function::python(&reference.try_to_string(env)?)?.into())))
}

/// `long inLibrary(String library, String name)`: a function of a shared library.
#[jni_mangle("io.transom.Function")]
pub fn in_library<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, library: JString<'local>, name: JString<'local>) -> jlong {
    native(env, |env| Ok(FUNCTIONS.insert(Function::native(library.try_to_string(env)?, &name.try_to_string(env)?)?.into())))
}

/// `long javaClass(String name)`: a class for JVM workers.
#[jni_mangle("io.transom.Function")]
pub fn java_class<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, name: JString<'local>) -> jlong {
    native(env, |env| Ok(FUNCTIONS.insert(Function::java(&name.try_to_string(env)?)?.into())))
}

/// `long with(long function, String[] path, long deadline, int retries, String onError)`: the same function under other policies. The path and the
/// last may be null; the deadline is in nanoseconds, and 0 leaves it as it is; so do fewer than 0 retries.
#[jni_mangle("io.transom.Function")]
pub fn with<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    function: jlong,
    path: JObjectArray<'local, JString<'local>>,
    deadline: jlong,
    retries: jint,
    on_error: JString<'local>,
) -> jlong {
    native(env, |env| {
        let mut function = (*FUNCTIONS.get(function)?).clone();
        if !path.is_null() {
            function = function.with_import_path(texts(env, &path)?);
        }
        if let Ok(nanos @ 1..) = u64::try_from(deadline) {
            function = function.with_deadline(Duration::from_nanos(nanos));
        }
        if let Ok(retries) = u32::try_from(retries) {
            function = function.with_retries(retries);
        }
        if !on_error.is_null() {
            let name = on_error.try_to_string(env)?;
            function = function.with_on_error(OnError::from_name(&name).ok_or_else(|| bad_option("on_error", &name))?);
        }
        Ok(FUNCTIONS.insert(function.into()))
    })
}

/// `String name(long function)`.
#[jni_mangle("io.transom.Function")]
pub fn name<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, function: jlong) -> JString<'local> {
    native(env, |env| {
        let function = FUNCTIONS.get(function)?;
        Ok(env.new_string(function.name())?)
    })
}

/// `void release(long function)`. Doing so twice does nothing.
#[jni_mangle("io.transom.Function")]
pub fn release<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, function: jlong) {
    native(env, |_| {
        drop(FUNCTIONS.remove(function));
        Ok::<(), Failure>(())
    });
}

/// The error for an option that Java names and Rust does not know, or not with this value.
pub(crate) fn bad_option(name: &str, value: &str) -> Error {
    Error::new(Code::BadOption, format!("the option `{name}` cannot be `{value}`"))
}
