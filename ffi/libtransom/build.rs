//! Gives the shared library the name under which programs look for it. Its number is that of the ABI.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtransom.so.1");
    println!("cargo:rerun-if-changed=build.rs");
}
