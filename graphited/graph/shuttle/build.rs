//! Has the graph's source, and the tests, built with `cfg(shuttle)`.

fn main() {
    println!("cargo::rustc-cfg=shuttle");
    println!("cargo::rerun-if-changed=build.rs");
}
