//! Records clicks in a web page, also while it is offline, and delivers them to Kinesis.
//!
//! `cargo xtask browser` builds it, serves it beside an endpoint of this machine, and says where.
//! The file `page/index.html` has the page around it.

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
