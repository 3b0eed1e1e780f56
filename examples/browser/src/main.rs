//! Records clicks in a web page, even offline, and delivers them to Kinesis.
//!
//! `cargo xtask browser` builds and serves it, runs a local endpoint, and prints the address. The
//! page itself is `page/index.html`.

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod page;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
fn main() {
    page::start();
}

#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
fn main() {
    eprintln!("this is a web page: `cargo xtask browser` builds and serves it");
}
